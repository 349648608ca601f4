// A snapshot has the calls that its fold had, and whatever is wrong with one is noticed.
#include "fold_fixture.h"

enum { CALLS = 12, MANY = CALL_BLOCK + 40 };

struct file {
    size_t size;
    uint8_t *bytes;
};

static struct snapshot_row row_of(int64_t step)
{
    return (struct snapshot_row){.epoch = 2, .step = step, .sequence = 5, .hash = {8, 9}};
}

static struct file write_file(struct snapshot *snapshot)
{
    struct file file = {0};
    struct slice piece;
    while (snapshot_next(snapshot, &piece)) {
        file.bytes = realloc(file.bytes, file.size + piece.size);
        memcpy(file.bytes + file.size, piece.data, piece.size);
        file.size += piece.size;
    }
    snapshot_free(snapshot);
    return file;
}

static struct snapshot *hold(const struct bench *b)
{
    const struct snapshot_row row = row_of(7);
    struct snapshot *snapshot = fold_snapshot(b->fold, &row);
    assert_false(fold_snapshot_accounts(b->fold, snapshot, 1)); // a piece a turn
    assert_true(fold_snapshot_accounts(b->fold, snapshot, 1000));
    return snapshot;
}

static int read_file_into(struct snapshot_reader *reader, const struct file *file, struct error *e)
{
    for (size_t at = 0; !snapshot_is_whole(reader);) {
        size_t size;
        void *room = snapshot_room(reader, &size);
        if (size > file->size - at)
            size = file->size - at;
        if (size > 0)
            memcpy(room, file->bytes + at, size);
        at += size;
        if (snapshot_take(reader, size, e) != 0)
            return -1;
    }
    return 0;
}

// Some accounts have rows, in another order than that in which the fold met them.
static struct fold *fold_of_rows(struct bench *b)
{
    struct error e = {0};
    struct fold *fold = bench_fold(b);
    assert_int_equal(fold_restore_state(fold, fold_state(b->fold), &e), 0);
    for (size_t a = fold_account_count(b->fold); a-- > 0;)
        if (fold_account(b->fold, (uint32_t)a)->recorded)
            assert_int_equal(
                fold_restore_account(fold, fold_account(b->fold, (uint32_t)a), NULL, &e), 0);
    return fold;
}

static int take_into(struct fold *fold, const struct file *file, struct snapshot_row row,
                     struct error *e)
{
    struct snapshot_reader *reader = fold_read_snapshot(fold, &row);
    int failed = read_file_into(reader, file, e);
    if (failed)
        fold_leave_snapshot(fold);
    else
        fold_take_snapshot(fold, reader);
    snapshot_reader_free(reader);
    return failed;
}

static void refuse_by(struct fold *fold, const struct file *file, struct snapshot_row row,
                      const char *words)
{
    struct error e = {0};
    size_t accounts = fold_account_count(fold);
    assert_int_equal(take_into(fold, file, row, &e), -1);
    assert_int_equal(e.kind, ERROR_CONFIG);
    if (!strstr(e.text, words))
        fail_msg("\"%s\" does not say \"%s\"", e.text, words);
    assert_int_equal(fold_resident_calls(fold), 0); // nothing is left of it
    assert_int_equal(fold_account_count(fold), accounts);
    assert_int_equal(fold_replay_position(fold), fold_state(fold)->calls_from);
}

static void refuse(struct bench *b, const struct file *file, struct snapshot_row row,
                   const char *words)
{
    struct fold *fold = fold_of_rows(b);
    refuse_by(fold, file, row, words);
    fold_destroy(fold);
}

static const char *const names[] = {"a", "b", "longer-account-name"};

static struct event numbered(struct bench *b, int i)
{
    static char id[MANY][48];
    // Some are UUIDs, some are not.
    snprintf(id[i], sizeof id[i], i % 3 ? "0b0c0d0e-0f00-4a4b-8c8d-%012d" : "call-%d", i);
    return call(b, names[i % 3], id[i], i % 2 ? i : -1, at(b, 0, HOUR + i));
}

static struct bench *make(int calls)
{
    struct bench *b = bench_create();
    for (int i = 0; i < calls; i++)
        accept(b, INPUT_CALLS, numbered(b, i));
    accept(b, INPUT_CREDITS, credit(b, "b", "t", CREDIT_TOP_UP, 1000, at(b, 0, 2 * HOUR)));
    accept(b, INPUT_CREDITS, credit(b, "a", "t", CREDIT_TOP_UP, 1000, at(b, 0, 2 * HOUR)));
    fold_step_done(b->fold);
    return b;
}

static void free_all(struct bench *b, struct file *file)
{
    free(file->bytes);
    bench_destroy(b);
}

// The fold of the bench is now one that was made of the file.
static void go_on_from(struct bench *b, const struct file *file)
{
    struct error e = {0};
    bool done = false;
    struct fold *fold = fold_of_rows(b);
    assert_int_equal(take_into(fold, file, row_of(9), &e), 0);
    assert_int_equal(fold_replay_reached(fold, fold_state(fold)->log[INPUT_CALLS].next, &done, &e),
                     0);
    assert_true(done);
    assert_int_equal(fold_resident_calls(fold), fold_resident_calls(b->fold));
    fold_destroy(b->fold);
    b->fold = fold;
}

static void every_call_is_known_again(void **state)
{
    (void)state;
    struct bench *b = make(MANY);
    struct file file = write_file(hold(b));
    go_on_from(b, &file);
    for (int i = 0; i < MANY; i++) {
        int64_t before = fold_state(b->fold)->log[INPUT_CALLS].duplicates;
        assert_int_equal(feed(b, INPUT_CALLS, numbered(b, i)), FOLD_MORE);
        assert_int_equal(fold_state(b->fold)->log[INPUT_CALLS].duplicates, before + 1);
    }
    struct event other = numbered(b, 1);
    other.record.field[CALL_LEAD_COUNT] = number(4711);
    reject(b, INPUT_CALLS, other, REJECT_CONFLICT);
    free_all(b, &file);
}

// The same settlements, of the right accounts, though these have other numbers.
static void each_account_has_its_own_calls(void **state)
{
    (void)state;
    struct bench *b = make(CALLS);
    struct file file = write_file(hold(b));
    go_on_from(b, &file);
    settle(b);
    const struct step *step = fold_step(b->fold);
    assert_int_equal(step->settlement_count, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct settlement *s = &step->settlements[i];
        assert_true(slice_same(fold_account(b->fold, s->account)->id, text(names[i])));
        assert_int_equal(s->calls, CALLS / 3);
        assert_int_equal(s->opening_balance, 0);
        assert_int_equal(s->credits, i < 2 ? 1000 : 0);
    }
    // calls 3 and 9, 1 and 7, 5 and 11 have leads; what the others cost is the same
    assert_true(step->settlements[0].amount < step->settlements[2].amount);
    assert_true(step->settlements[1].amount < step->settlements[0].amount);
    free_all(b, &file);
}

static void calls_that_come_while_it_is_written_are_not_in_it(void **state)
{
    (void)state;
    struct bench *b = make(CALLS);
    struct snapshot *snapshot = hold(b);
    struct file before = write_file(hold(b));
    for (int i = CALLS; i < MANY; i++)
        accept(b, INPUT_CALLS, numbered(b, i));
    fold_step_done(b->fold);
    struct file file = write_file(snapshot);
    assert_int_equal(file.size, before.size);
    assert_memory_equal(file.bytes, before.bytes, file.size);
    free(before.bytes);
    free_all(b, &file);
}

static void it_outlives_its_fold(void **state)
{
    (void)state;
    struct bench *b = make(MANY);
    struct snapshot *snapshot = hold(b);
    struct file before = write_file(hold(b));
    bench_destroy(b);
    struct file file = write_file(snapshot);
    assert_int_equal(file.size, before.size);
    assert_memory_equal(file.bytes, before.bytes, file.size);
    free(file.bytes);
    free(before.bytes);
}

static void every_byte_counts(void **state)
{
    (void)state;
    struct bench *b = make(CALLS);
    struct file file = write_file(hold(b));
    struct fold *fold = fold_of_rows(b);
    for (size_t i = 0; i < file.size; i++)
        for (int bit = 0; bit < 8; bit++) {
            file.bytes[i] ^= (uint8_t)(1 << bit);
            refuse_by(fold, &file, row_of(7), "");
            file.bytes[i] ^= (uint8_t)(1 << bit);
        }
    fold_destroy(fold);
    go_on_from(b, &file);
    free_all(b, &file);
}

static void every_length_but_its_own_is_refused(void **state)
{
    (void)state;
    struct bench *b = make(CALLS);
    struct file file = write_file(hold(b));
    struct fold *fold = fold_of_rows(b);
    for (size_t size = 0; size < file.size; size++) {
        const struct file cut = {size, file.bytes};
        refuse_by(fold, &cut, row_of(7), "it is cut off");
    }
    fold_destroy(fold);
    file.bytes = realloc(file.bytes, file.size + 1);
    file.bytes[file.size++] = 0;
    refuse(b, &file, row_of(7), "something stands behind its end");
    free_all(b, &file);
}

static void another_versions_is_refused(void **state)
{
    (void)state;
    struct bench *b = make(CALLS);
    struct file file = write_file(hold(b));
    file.bytes[8]++;
    refuse(b, &file, row_of(7), "it has version 2, this program reads 1");
    file.bytes[0]++;
    refuse(b, &file, row_of(7), "it is no snapshot");
    free_all(b, &file);
}

static void a_database_that_was_set_back_is_noticed(void **state)
{
    (void)state;
    struct bench *b = make(CALLS);
    struct file file = write_file(hold(b));
    struct snapshot_row row = row_of(6);
    refuse(b, &file, row, "it is of step 7, and the database is at step 6");
    row = row_of(7);
    row.epoch--;
    refuse(b, &file, row, "the database was set back");
    row = row_of(8);
    row.sequence--;
    refuse(b, &file, row, "the database was set back");
    row = row_of(8);
    row.hash[31]++;
    refuse(b, &file, row, "row 5 of the outbox is not the one that was there");
    free_all(b, &file);
}

static void anothers_is_refused(void **state)
{
    (void)state;
    struct bench *b = make(CALLS);
    struct file file = write_file(hold(b));
    struct error e = {0};
    struct fold_options options = {.shard = 1, .id_key = {1, 2, 3}, .max_resident_calls = 1000};
    struct fold *fold = fold_create(&options, &b->policy);
    assert_int_equal(fold_restore_state(fold, fold_state(b->fold), &e), 0);
    refuse_by(fold, &file, row_of(7), "it is of shard 0");
    fold_destroy(fold);
    options = (struct fold_options){.id_key = {1, 2, 4}, .max_resident_calls = 1000};
    fold = fold_create(&options, &b->policy);
    assert_int_equal(fold_restore_state(fold, fold_state(b->fold), &e), 0);
    refuse_by(fold, &file, row_of(7), "it is another deployment's");
    fold_destroy(fold);
    free_all(b, &file);
}

static void an_account_without_a_row_is_noticed(void **state)
{
    (void)state;
    struct bench *b = make(CALLS);
    struct file file = write_file(hold(b));
    struct error e = {0};
    struct fold *fold = bench_fold(b);
    assert_int_equal(fold_restore_state(fold, fold_state(b->fold), &e), 0);
    refuse_by(fold, &file, row_of(7), "has no row");
    fold_destroy(fold);
    free_all(b, &file);
}

// What is recorded, as it may be when the file is another history's.
static void refuse_with(struct bench *b, const struct file *file, const struct fold_state *recorded,
                        const char *words)
{
    struct error e = {0};
    struct fold *fold = bench_fold(b);
    assert_int_equal(fold_restore_state(fold, recorded, &e), 0);
    refuse_by(fold, file, row_of(7), words);
    fold_destroy(fold);
}

static void counts_that_are_not_recorded_are_noticed(void **state)
{
    (void)state;
    static const char counts[] = "of the calls are not those that are recorded";
    struct bench *b = make(CALLS);
    struct file file = write_file(hold(b));
    struct fold_state recorded = *fold_state(b->fold);
    struct log_state *log = &recorded.log[INPUT_CALLS];
    log->accepted--;
    log->duplicates++;
    refuse_with(b, &file, &recorded, counts);
    log->accepted++;
    log->duplicates--;
    log->last_hash++;
    refuse_with(b, &file, &recorded, counts);
    log->last_hash--;
    log->from--;
    log->voids++;
    refuse_with(b, &file, &recorded, counts);
    log->from++;
    log->voids--;
    log->next--;
    log->accepted--;
    log->last_offset--;
    refuse_with(b, &file, &recorded, "behind what is recorded");
    log->next += 2;
    log->accepted += 2;
    recorded.calls_from = log->next;
    refuse_with(b, &file, &recorded, "before what is needed");
    free_all(b, &file);
}

// A record that is a reject now was none then.
static void a_reject_that_it_does_not_know_is_noticed(void **state)
{
    (void)state;
    struct bench *b = make(CALLS);
    struct file file = write_file(hold(b));
    struct error e = {0};
    struct fold *fold = fold_of_rows(b);
    assert_int_equal(fold_restore_reject(fold, 3, &e), 0);
    refuse_by(fold, &file, row_of(7), "of the calls are not those that are recorded");
    fold_destroy(fold);
    free_all(b, &file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_is_known_again),
        cmocka_unit_test(each_account_has_its_own_calls),
        cmocka_unit_test(calls_that_come_while_it_is_written_are_not_in_it),
        cmocka_unit_test(it_outlives_its_fold),
        cmocka_unit_test(every_byte_counts),
        cmocka_unit_test(every_length_but_its_own_is_refused),
        cmocka_unit_test(another_versions_is_refused),
        cmocka_unit_test(a_database_that_was_set_back_is_noticed),
        cmocka_unit_test(anothers_is_refused),
        cmocka_unit_test(an_account_without_a_row_is_noticed),
        cmocka_unit_test(counts_that_are_not_recorded_are_noticed),
        cmocka_unit_test(a_reject_that_it_does_not_know_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
