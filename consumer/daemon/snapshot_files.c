#include "consumer/daemon/snapshot_files.h"

#include "consumer/system/clock.h"
#include "consumer/system/fault.h"
#include "consumer/system/log.h"
#include "consumer/system/thread.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    NICE = 10, // what bills comes first
    SYNC_BYTES = 8 << 20, // to the disk a piece at a time, so that nobody's fsync waits for all
    LEAVE_MS = 3000,
};

struct snapshot_files {
    const char *directory;
    struct metrics *metrics;
    pthread_t thread;
    atomic_bool stopping;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    // Under the lock
    bool begun; // by a shard; until it is written
    int32_t shard;
    struct snapshot *snapshot; // to be written; NULL: none
};

// ---- names ----

static void name_file(char name[SNAPSHOT_NAME_SIZE], int32_t shard, int64_t step)
{
    snprintf(name, SNAPSHOT_NAME_SIZE, "shard-%" PRId32 ".step-%016" PRId64 ".snapshot", shard,
             step);
}

// The step of a shard's snapshot, by its name; -1: it is another file.
static int64_t step_of(const char *name, int32_t shard)
{
    char again[SNAPSHOT_NAME_SIZE];
    const char *at = strstr(name, ".step-");
    int64_t step = at ? strtoll(at + strlen(".step-"), NULL, 10) : -1;
    if (step < 0)
        return -1;
    name_file(again, shard, step);
    return strcmp(name, again) == 0 ? step : -1;
}

static bool is_left_over(const char *name, int32_t shard)
{
    char begin[SNAPSHOT_NAME_SIZE];
    int size = snprintf(begin, sizeof begin, "shard-%" PRId32 ".step-", shard);
    size_t length = strlen(name);
    return strncmp(name, begin, (size_t)size) == 0 && length > 4 &&
           strcmp(name + length - 4, ".tmp") == 0;
}

// From its beginning, whoever else has gone through the folder. NULL: it cannot be read.
static DIR *list_files(int folder)
{
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (!list && fd >= 0)
        close(fd);
    return list;
}

// The highest step of the shard's files below `below`; -1: none.
static int64_t newest_below(int folder, int32_t shard, int64_t below)
{
    int64_t newest = -1;
    DIR *list = list_files(folder);
    if (!list)
        return -1;
    for (const struct dirent *entry; (entry = readdir(list)) != NULL;) {
        int64_t step = step_of(entry->d_name, shard);
        if (step > newest && step < below)
            newest = step;
    }
    closedir(list);
    return newest;
}

// Removes the shard's other files: all but the one before `step`, since what is above it is of a
// history that the database has lost; and before that what a crash has left.
static void remove_others(int folder, int32_t shard, int64_t step)
{
    int64_t kept = newest_below(folder, shard, step);
    DIR *list = list_files(folder);
    if (!list)
        return;
    for (const struct dirent *entry; (entry = readdir(list)) != NULL;) {
        int64_t found = step_of(entry->d_name, shard);
        if (is_left_over(entry->d_name, shard) || (found >= 0 && found != step && found != kept))
            (void)unlinkat(folder, entry->d_name, 0);
    }
    closedir(list);
}

// ---- writing ----

static int fail(struct error *e, const char *directory, const char *name, const char *at)
{
    return error_set(e, ERROR_CONFIG, "%s/%s: %s: %s", directory, name, at, strerror(errno));
}

static int write_all(int file, struct slice bytes)
{
    while (bytes.size > 0) {
        ssize_t written = write(file, bytes.data, bytes.size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        bytes.data += written;
        bytes.size -= (size_t)written;
    }
    return 0;
}

// 0, or -1 with errno. ECANCELED: the worker ends.
static int write_bytes(struct snapshot_files *f, int file, struct snapshot *snapshot,
                       int64_t *bytes)
{
    struct slice piece;
    int64_t synced = 0;
    while (snapshot_next(snapshot, &piece)) {
        if (write_all(file, piece) != 0)
            return -1;
        *bytes += (int64_t)piece.size;
        fault_point(snapshot_piece);
        if (f->stopping) {
            errno = ECANCELED;
            return -1;
        }
        if (*bytes - synced < SYNC_BYTES)
            continue;
        (void)sync_file_range(file, synced, *bytes - synced, SYNC_FILE_RANGE_WRITE);
        synced = *bytes;
    }
    return fsync(file);
}

static int write_in(struct snapshot_files *f, int folder, struct snapshot *snapshot, int64_t *bytes,
                    struct error *e)
{
    const struct snapshot_head *head = snapshot_head_of(snapshot);
    char name[SNAPSHOT_NAME_SIZE], temporary[SNAPSHOT_NAME_SIZE];
    name_file(name, head->shard, head->row.step);
    snprintf(temporary, sizeof temporary, "shard-%" PRId32 ".step-%016" PRId64 ".%d.tmp",
             head->shard, head->row.step, (int)getpid());
    (void)unlinkat(folder, temporary, 0);
    int file = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
        return fail(e, f->directory, temporary, "open");
    int failed = write_bytes(f, file, snapshot, bytes);
    if (failed)
        fail(e, f->directory, temporary, "write");
    if (close(file) != 0 && !failed)
        failed = fail(e, f->directory, temporary, "close");
    fault_point(snapshot_unnamed);
    if (!failed && renameat(folder, temporary, folder, name) != 0)
        failed = fail(e, f->directory, name, "rename");
    if (failed) {
        (void)unlinkat(folder, temporary, 0);
        return -1;
    }
    fault_point(snapshot_named);
    if (fsync(folder) != 0)
        return fail(e, f->directory, name, "fsync of its folder");
    remove_others(folder, head->shard, head->row.step);
    return 0;
}

static int write_snapshot(struct snapshot_files *f, struct snapshot *snapshot, int64_t *bytes,
                          struct error *e)
{
    int folder = open(f->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return error_set(e, ERROR_CONFIG, "%s: %s", f->directory, strerror(errno));
    int failed = write_in(f, folder, snapshot, bytes, e);
    close(folder);
    return failed;
}

static void run_job(struct snapshot_files *f, int32_t shard, struct snapshot *snapshot)
{
    const struct snapshot_head head = *snapshot_head_of(snapshot);
    struct shard_metrics *m = &f->metrics->shards[shard];
    int64_t bytes = 0, begun = clock_monotonic_ms();
    struct error e;
    int failed = write_snapshot(f, snapshot, &bytes, &e);
    snapshot_free(snapshot);
    if (failed && f->stopping)
        return;
    if (failed) {
        m->snapshots_failed++;
        log_event(LOG_WARN,
                  "a snapshot could not be written: a start replays more calls, nothing else is "
                  "wrong",
                  LOG_FIELDS(log_int("shard", shard), log_text("reason", e.text)));
        return;
    }
    m->snapshots_written++;
    m->snapshot_bytes = bytes;
    m->snapshot_at = clock_wall_ms() / 1000;
    log_event(LOG_INFO, "snapshot written",
              LOG_FIELDS(log_int("shard", shard), log_int("step", head.row.step),
                         log_int("position", head.next), log_int("calls", head.calls),
                         log_int("bytes", bytes), log_int("ms", clock_monotonic_ms() - begun)));
}

static void *write_main(void *argument)
{
    struct snapshot_files *f = argument;
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE); // of this thread
    pthread_mutex_lock(&f->lock);
    while (!f->stopping) {
        if (!f->snapshot) {
            pthread_cond_wait(&f->changed, &f->lock);
            continue;
        }
        struct snapshot *snapshot = f->snapshot;
        int32_t shard = f->shard;
        f->snapshot = NULL;
        pthread_mutex_unlock(&f->lock);
        run_job(f, shard, snapshot);
        pthread_mutex_lock(&f->lock);
        f->begun = false;
        pthread_cond_broadcast(&f->changed);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

bool snapshot_files_begin(struct snapshot_files *f)
{
    pthread_mutex_lock(&f->lock);
    bool free_now = !f->begun && !f->stopping;
    f->begun = f->begun || free_now;
    pthread_mutex_unlock(&f->lock);
    return free_now;
}

void snapshot_files_write(struct snapshot_files *f, int32_t shard, struct snapshot *snapshot)
{
    pthread_mutex_lock(&f->lock);
    assert(f->begun);
    assert(!f->snapshot);
    f->shard = shard;
    f->snapshot = snapshot;
    f->begun = snapshot != NULL;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

// ---- reading ----

static int read_into(int file, struct snapshot_reader *reader, struct error *e)
{
    while (!snapshot_is_whole(reader)) {
        size_t size;
        void *room = snapshot_room(reader, &size);
        ssize_t got = read(file, room, size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set(e, ERROR_CONFIG, "it cannot be read: %s", strerror(errno));
        if (snapshot_take(reader, (size_t)got, e) != 0)
            return -1;
    }
    return 0;
}

// A folder that cannot be read has none: that is said where they are written.
enum snapshot_found snapshot_files_read(struct snapshot_files *f, int32_t shard, int back,
                                        struct snapshot_reader *reader,
                                        char name[SNAPSHOT_NAME_SIZE], struct error *e)
{
    int folder = open(f->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return SNAPSHOT_NONE;
    int64_t step = newest_below(folder, shard, INT64_MAX);
    for (int i = 0; i < back && step >= 0; i++)
        step = newest_below(folder, shard, step);
    if (step < 0) {
        close(folder);
        return SNAPSHOT_NONE;
    }
    name_file(name, shard, step);
    enum snapshot_found found = SNAPSHOT_REFUSED;
    int file = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        error_set(e, ERROR_CONFIG, "it cannot be opened: %s", strerror(errno));
    } else {
        (void)posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL);
        found = read_into(file, reader, e) == 0 ? SNAPSHOT_READ : SNAPSHOT_REFUSED;
        close(file);
    }
    close(folder);
    return found;
}

// ---- life ----

int snapshot_files_create(const char *directory, struct metrics *metrics,
                          struct snapshot_files **out, struct error *e)
{
    struct snapshot_files *f = calloc(1, sizeof *f);
    if (!f)
        return error_set(e, ERROR_RESTART, "memory is short for a worker");
    f->directory = directory;
    f->metrics = metrics;
    pthread_mutex_init(&f->lock, NULL);
    thread_init_condition(&f->changed);
    if (pthread_create(&f->thread, NULL, write_main, f) == 0) {
        *out = f;
        return 0;
    }
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return error_set(e, ERROR_RESTART, "no thread can be started");
}

bool snapshot_files_destroy(struct snapshot_files *f)
{
    if (!f)
        return true;
    int64_t at = clock_monotonic_ms() + LEAVE_MS;
    const struct timespec until = {.tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000};
    pthread_mutex_lock(&f->lock);
    while (f->begun && pthread_cond_timedwait(&f->changed, &f->lock, &until) == 0) {}
    f->stopping = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    if (!thread_join_within(f->thread, LEAVE_MS))
        return false;
    snapshot_free(f->snapshot);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return true;
}
