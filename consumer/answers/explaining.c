#include "consumer/answers/explaining.h"

#include "consumer/base/text.h"
#include "consumer/system/clock.h"
#include "consumer/system/thread.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
    WAIT_MS = 4000, // of whoever asks; at most one thread of the server waits at a time
    NICENESS = 10, // of the thread that reads
};

struct explaining {
    const struct config *config;
    atomic_bool stop;
    pthread_mutex_t lock; // of all that follows
    pthread_cond_t ended;
    pthread_t thread;
    bool started, runs, waited_for; // started: there is a thread to be joined
    char account_id[ID_SIZE_MAX + 1]; // "": nothing was asked for yet, or it has failed
    day_t day;
    enum explaining_result result; // while it does not run
    struct explanation explanation; // of EXPLAINING_DONE
    struct error error; // of the others
};

int explaining_create(const struct config *config, struct explaining **out, struct error *e)
{
    struct explaining *x = calloc(1, sizeof *x);
    *out = x;
    if (!x)
        return error_set(e, ERROR_RESTART, "memory is short");
    x->config = config;
    pthread_mutex_init(&x->lock, NULL);
    thread_init_condition(&x->ended);
    return 0;
}

void explaining_interrupt(struct explaining *x)
{
    if (x)
        atomic_store(&x->stop, true);
}

void explaining_destroy(struct explaining *x)
{
    if (!x)
        return;
    explaining_interrupt(x);
    if (x->started)
        pthread_join(x->thread, NULL);
    explanation_release(&x->explanation);
    pthread_cond_destroy(&x->ended);
    pthread_mutex_destroy(&x->lock);
    free(x);
}

// ---- the thread that reads ----

static enum explaining_result read_calls(const struct explaining *x,
                                         const struct explain_question *question,
                                         struct explanation *out, struct error *e)
{
    char difference[256], day[DAY_TEXT_SIZE];
    if (explain(x->config, question, out, e))
        return out->expired ? EXPLAINING_EXPIRED : EXPLAINING_FAILED;
    calendar_format_day(question->day, day);
    if (!out->recorded.settled)
        error_set(e, ERROR_BUG, "settlement %s/%s is gone", question->account_id, day);
    else if (explain_difference(out, difference, sizeof difference))
        error_set(e, ERROR_CONFIG, "settlement %s/%s: %s", question->account_id, day, difference);
    else
        return EXPLAINING_DONE;
    return EXPLAINING_FAILED;
}

static void *run(void *context)
{
    struct explaining *x = context;
    struct explanation explanation;
    struct error e = {0};
    // What was asked for does not change while this runs.
    const struct explain_question question = {
        .account_id = x->account_id, .day = x->day, .stop = &x->stop};
    (void)setpriority(PRIO_PROCESS, 0, NICENESS); // of this thread alone, as Linux has it
    enum explaining_result result = read_calls(x, &question, &explanation, &e);
    if (result != EXPLAINING_DONE)
        explanation_release(&explanation);
    pthread_mutex_lock(&x->lock);
    x->runs = false;
    x->result = result;
    x->explanation = explanation;
    x->error = e;
    pthread_cond_broadcast(&x->ended);
    pthread_mutex_unlock(&x->lock);
    return NULL;
}

static bool start(struct explaining *x, const char *account_id, day_t day)
{
    assert(!x->runs);
    if (x->started)
        pthread_join(x->thread, NULL); // it has ended, or is about to
    explanation_release(&x->explanation);
    size_t size = strlen(account_id);
    assert(size < sizeof x->account_id); // a settlement of it is recorded
    memcpy(x->account_id, account_id, size + 1);
    x->day = day;
    x->runs = x->started = pthread_create(&x->thread, NULL, run, x) == 0;
    return x->started;
}

// ---- those who ask ----

static bool is_asked_for(const struct explaining *x, const char *account_id, day_t day)
{
    return x->day == day && strcmp(x->account_id, account_id) == 0;
}

static void wait_for_it(struct explaining *x)
{
    int64_t end = clock_monotonic_ms() + WAIT_MS;
    const struct timespec until = {.tv_sec = end / 1000, .tv_nsec = end % 1000 * 1000000L};
    if (x->waited_for)
        return;
    x->waited_for = true;
    while (x->runs && pthread_cond_timedwait(&x->ended, &x->lock, &until) == 0)
        ;
    x->waited_for = false;
}

// With the lock. Whoever comes while nothing is read has his settlement read.
static enum explaining_result take_locked(struct explaining *x, const char *account_id, day_t day,
                                          struct error *e)
{
    bool same = is_asked_for(x, account_id, day);
    if (x->runs && !same)
        return EXPLAINING_BUSY;
    if (!same && !start(x, account_id, day)) {
        x->account_id[0] = '\0';
        error_set(e, ERROR_UNAVAILABLE, "no thread can be started");
        return EXPLAINING_FAILED;
    }
    wait_for_it(x);
    // Meanwhile it may have ended, and another one may have been asked for.
    if (x->runs || !is_asked_for(x, account_id, day))
        return EXPLAINING_READS;
    if (x->result != EXPLAINING_DONE) {
        *e = x->error;
        x->account_id[0] = '\0'; // the next one who asks has it tried again
    }
    return x->result;
}

enum explaining_result explaining_take(struct explaining *x, const char *account_id, day_t day,
                                       const struct explanation **out, struct error *e)
{
    pthread_mutex_lock(&x->lock);
    enum explaining_result result = take_locked(x, account_id, day, e);
    *out = &x->explanation;
    if (result != EXPLAINING_DONE)
        pthread_mutex_unlock(&x->lock);
    return result;
}

void explaining_release(struct explaining *x)
{
    pthread_mutex_unlock(&x->lock);
}
