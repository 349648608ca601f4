#include "consumer/output/outbox.h"

#include "consumer/base/arena.h"

#include <assert.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHA256_SIZE = 32, CE_ID_SIZE = 512 };

// What one build works with.
struct build {
    struct outbox *out;
    struct encoder *en;
    struct encode_source from;
    EVP_MD_CTX *content; // over the day's settlement bodies
    struct error *e;
};

static void put_big_endian(uint8_t *out, uint64_t number, size_t bytes)
{
    assert(bytes == sizeof number || number >> (8 * bytes) == 0);
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(number >> (8 * (bytes - 1 - i)));
}

static void hex(const uint8_t digest[SHA256_SIZE], char out[65])
{
    for (size_t i = 0; i < SHA256_SIZE; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

// libcrypto fails here only when memory is short or the library is broken. No row may be made from
// such a result.
static void must(int ok)
{
    if (!ok)
        abort();
}

struct chain_hasher {
    EVP_MD_CTX *context;
};

struct chain_hasher *chain_hasher_create(void)
{
    struct chain_hasher *hasher = malloc(sizeof *hasher);
    must(hasher != NULL);
    hasher->context = EVP_MD_CTX_new();
    must(hasher->context && EVP_DigestInit_ex(hasher->context, EVP_sha256(), NULL));
    return hasher;
}

void chain_hasher_free(struct chain_hasher *hasher)
{
    if (!hasher)
        return;
    EVP_MD_CTX_free(hasher->context);
    free(hasher);
}

void chain_hash(struct chain_hasher *hasher, const uint8_t previous[32],
                const struct outbox_row *row, uint8_t out[32])
{
    EVP_MD_CTX *md = hasher->context;
    uint8_t head[SHA256_SIZE + 8 + 1 + 4];
    memcpy(head, previous, SHA256_SIZE);
    put_big_endian(head + SHA256_SIZE, (uint64_t)row->sequence, 8);
    head[SHA256_SIZE + 8] = (uint8_t)row->output;
    put_big_endian(head + SHA256_SIZE + 9, row->key.data ? row->key.size : UINT32_MAX, 4);
    // Without a name of the algorithm: to look it up costs more than to hash a row.
    must(EVP_DigestInit_ex(md, NULL, NULL) && EVP_DigestUpdate(md, head, sizeof head));
    if (row->key.data)
        must(EVP_DigestUpdate(md, row->key.data, row->key.size));
    must(EVP_DigestUpdate(md, row->body.data, row->body.size) && EVP_DigestFinal_ex(md, out, NULL));
}

static struct slice keep(struct build *b, struct slice bytes)
{
    if (!bytes.data)
        return bytes;
    return (struct slice){arena_copy(b->out->arena, bytes.data, bytes.size), bytes.size};
}

static const char *keep_text(struct build *b, const char *text)
{
    return arena_copy(b->out->arena, text, strlen(text));
}

static int64_t end_of_day(const struct build *b, day_t day)
{
    return calendar_day_start(day + 1, b->from.context->offset_ms);
}

// Whether a row's id begins with its key, as those of all outputs but rejects do.
static bool id_has_key(const struct outbox_row *row)
{
    return strncmp(row->ce_id, row->key.data, row->key.size) == 0 &&
           row->ce_id[row->key.size] == '/';
}

static void check_row(const struct outbox_row *row)
{
    assert(row->output < OUTPUT_COUNT);
    assert(row->body.data);
    assert(row->body.size > 0);
    assert(row->ce_id[0] != '\0');
    assert(row->output == OUTPUT_REJECTS || row->key.data);
    assert(row->output == OUTPUT_REJECTS || id_has_key(row));
}

static int build_settlement(struct build *b, const struct settlement *s, struct outbox_row *row)
{
    struct slice account_id = fold_account(b->from.fold, s->account)->id, body;
    char id[OUTPUT_ID_SIZE];
    assert(s->opening_balance + s->credits + s->adjustments - s->amount ==
           s->closing_balance); // I4
    assert(s->day == b->from.step->close.day);
    if (encode_settlement(b->en, &b->from, s, 0, &body, b->e) != 0)
        return -1;
    // of what a replay would write: it has other sequences
    must(EVP_DigestUpdate(b->content, body.data, body.size));
    row->output = OUTPUT_SETTLEMENTS;
    row->key = keep(b, account_id);
    row->ce_id = keep_text(b, settlement_id(account_id, s->day, id));
    row->ce_time = end_of_day(b, s->day);
    row->body = encoder_body(b->en, row->sequence, b->out->arena);
    return 0;
}

static int build_status(struct build *b, const struct step_status *s, struct outbox_row *row)
{
    struct slice account_id = fold_account(b->from.fold, s->account)->id, body;
    char id[OUTPUT_ID_SIZE];
    assert((s->cause == CAUSE_ARREARS) == (s->state == ACCOUNT_SUSPENDED)); // I8
    assert((s->cause == CAUSE_ARREARS) == (s->balance < 0));
    if (encode_status(b->en, &b->from, s, row->sequence, &body, b->e) != 0)
        return -1;
    row->output = OUTPUT_STATUS;
    row->key = keep(b, account_id);
    row->ce_id = keep_text(b, status_event_id(account_id, s->account_sequence, id));
    row->ce_time = s->effective_at;
    row->body = keep(b, body);
    return 0;
}

static int build_notice(struct build *b, const struct step_notice *notice, struct outbox_row *row)
{
    day_t day = b->from.step->close.day;
    char id[OUTPUT_ID_SIZE];
    struct slice body;
    assert((notice->kind == NOTICE_BALANCE_LOW) == (notice->package == PACKAGE_NONE));
    if (encode_notice(b->en, &b->from, notice, row->sequence, &body, b->e) != 0)
        return -1;
    row->output = OUTPUT_NOTICES;
    row->key = keep(b, fold_account(b->from.fold, notice->account)->id);
    row->ce_id = keep_text(b, notice_id(b->from.fold, notice, day, id));
    row->ce_time = end_of_day(b, day);
    row->body = keep(b, body);
    return 0;
}

static int build_statement(struct build *b, const struct month_statement *s, struct outbox_row *row)
{
    struct slice body;
    char id[OUTPUT_ID_SIZE];
    day_t month = b->from.step->month;
    if (encode_statement(b->en, &b->from, s, row->sequence, &body, b->e) != 0)
        return -1;
    row->output = OUTPUT_STATEMENTS;
    row->key = keep(b, s->account_id);
    row->ce_id = keep_text(b, statement_id(s->account_id, month, id));
    row->ce_time = end_of_day(b, month);
    row->body = keep(b, body);
    return 0;
}

static int build_reject(struct build *b, const struct step_reject *r, struct outbox_row *row)
{
    struct slice body, key = r->key;
    char id[CE_ID_SIZE];
    assert(r->reason != REJECT_NONE);
    if (encode_reject(b->en, b->from.context, r, row->sequence, &body, b->e) != 0)
        return -1;
    if (key.size > REJECT_MESSAGE_MAX)
        key = (struct slice){0}; // no message could carry it
    snprintf(id, sizeof id, "%s/%" PRId32 "/%" PRId64, b->from.context->input_topics[r->input],
             b->from.context->shard, r->offset);
    row->output = OUTPUT_REJECTS;
    row->key = keep(b, key);
    row->ce_id = keep_text(b, id);
    row->ce_time = r->timestamp;
    row->body = keep(b, body);
    return 0;
}

static void check_close(const struct step *step)
{
    const struct day_close *c = &step->close;
    fen_t amount = 0;
    for (int i = 0; i < INPUT_COUNT; i++) {
        const struct cutoff *cut = &c->cutoffs[i];
        assert(cut->from_offset <= cut->to_offset); // I7
        assert(cut->accepted + cut->duplicates + cut->rejected + cut->voids ==
               cut->to_offset - cut->from_offset); // I1
    }
    for (size_t i = 0; i < step->settlement_count; i++)
        amount += step->settlements[i].amount;
    assert(c->amount == amount);
    assert(c->settlements == (int64_t)step->settlement_count);
}

static int build_day_close(struct build *b, const struct day_close *c, struct outbox_row *row)
{
    struct outbox *out = b->out;
    uint8_t digest[SHA256_SIZE];
    char id[CE_ID_SIZE], day[DAY_TEXT_SIZE], shard[16];
    struct slice body;
    check_close(b->from.step);
    must(EVP_DigestFinal_ex(b->content, digest, NULL));
    hex(digest, out->content_digest);
    // The digest is that of the record without its own digest and sequence.
    struct close_chaining chaining = {
        .content_digest = out->content_digest,
        .previous_digest = out->after.previous_digest,
        .digest = "",
    };
    if (encode_day_close(b->en, b->from.context, c, &chaining, &body, b->e) != 0)
        return -1;
    book_sha256(body.data, body.size, out->digest);
    chaining.digest = out->digest;
    chaining.sequence = row->sequence;
    if (encode_day_close(b->en, b->from.context, c, &chaining, &body, b->e) != 0)
        return -1;
    memcpy(out->after.previous_digest, out->digest, sizeof out->digest);
    snprintf(shard, sizeof shard, "%" PRId32, b->from.context->shard);
    snprintf(id, sizeof id, "%s/%s", shard, calendar_format_day(c->day, day));
    row->output = OUTPUT_DAY_CLOSES;
    row->key = (struct slice){keep_text(b, shard), strlen(shard)};
    row->ce_id = keep_text(b, id);
    row->ce_time = end_of_day(b, c->day);
    row->body = keep(b, body);
    return 0;
}

static int build_row(struct build *b, struct emission emission, struct outbox_row *row)
{
    const struct step *step = b->from.step;
    switch (emission.kind) {
    case EMIT_REJECT:
        assert(emission.index < step->reject_count);
        return build_reject(b, &step->rejects[emission.index], row);
    case EMIT_STATUS:
        assert(emission.index < step->status_count);
        return build_status(b, &step->statuses[emission.index], row);
    case EMIT_SETTLEMENT:
        assert(step->closed);
        assert(emission.index < step->settlement_count);
        return build_settlement(b, &step->settlements[emission.index], row);
    case EMIT_NOTICE:
        assert(step->closed);
        assert(emission.index < step->notice_count);
        return build_notice(b, &step->notices[emission.index], row);
    case EMIT_DAY_CLOSE:
        assert(step->closed);
        return build_day_close(b, &step->close, row);
    case EMIT_STATEMENT:
        assert(emission.index < step->statement_count);
        return build_statement(b, &step->statements[emission.index], row);
    case EMIT_KINDS:
        break;
    }
    return error_set(b->e, ERROR_BUG, "outbox: emission of unknown kind %d", (int)emission.kind);
}

static int make_room(struct outbox *out, size_t count, struct error *e)
{
    if (!out->arena)
        out->arena = arena_create();
    if (!out->hasher)
        out->hasher = chain_hasher_create();
    if (out->arena && count > out->capacity) {
        struct outbox_row *rows = realloc(out->rows, count * sizeof *rows);
        if (rows) {
            out->rows = rows;
            out->capacity = count;
        }
    }
    if (!out->arena || count > out->capacity)
        return error_set(e, ERROR_UNAVAILABLE, "outbox: no memory for %zu rows", count);
    arena_reset(out->arena);
    return 0;
}

// I3: the rows follow the earlier rows, and the chain ends with the last of them.
static void check_chain(const struct outbox *out, const struct step *step,
                        const struct chain *before)
{
    assert(out->count == step->emission_count);
    for (size_t i = 0; i < out->count; i++)
        assert(out->rows[i].sequence == before->sequence + 1 + (int64_t)i);
    const uint8_t *last = out->count ? out->rows[out->count - 1].hash : before->hash;
    assert(memcmp(out->after.hash, last, sizeof out->after.hash) == 0);
    assert(out->after.sequence == before->sequence + (int64_t)out->count);
    size_t digest_size = step->closed ? 2 * SHA256_SIZE : 0;
    assert(strlen(out->digest) == digest_size);
    assert(strlen(out->content_digest) == digest_size);
}

int outbox_build(struct outbox *out, struct encoder *en, const struct encode_context *cx,
                 const struct fold *fold, const struct chain *before, struct error *e)
{
    const struct step *step = fold_step(fold);
    struct build b = {.out = out, .en = en, .from = {cx, fold, step}, .e = e};
    out->count = 0;
    out->content_digest[0] = out->digest[0] = '\0';
    if (make_room(out, step->emission_count, e) != 0)
        return -1;
    out->after = *before;
    b.content = EVP_MD_CTX_new();
    must(b.content && EVP_DigestInit_ex(b.content, EVP_sha256(), NULL));
    int failed = 0;
    for (size_t i = 0; i < step->emission_count && !failed; i++) {
        struct outbox_row *row = &out->rows[i];
        *row = (struct outbox_row){.sequence = out->after.sequence + 1};
        failed = build_row(&b, step->emissions[i], row);
        if (failed)
            break;
        check_row(row);
        chain_hash(out->hasher, out->after.hash, row, row->hash);
        memcpy(out->after.hash, row->hash, sizeof row->hash);
        out->after.sequence = row->sequence;
        out->count = i + 1;
    }
    EVP_MD_CTX_free(b.content);
    if (!failed)
        check_chain(out, step, before);
    return failed;
}

void outbox_release(struct outbox *out)
{
    arena_destroy(out->arena);
    chain_hasher_free(out->hasher);
    free(out->rows);
    *out = (struct outbox){0};
}
