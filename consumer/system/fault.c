#include "consumer/system/fault.h"

#ifdef SETTLED_FAULT_POINTS

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { FAULTS_MAX = 16 };

struct fault {
    char name[64], action[16];
    atomic_long left; // passages until it happens
};

static struct {
    pthread_once_t once;
    struct fault faults[FAULTS_MAX];
    int count;
    const _Atomic int64_t *clock; // NULL: the machine's
} armed = {.once = PTHREAD_ONCE_INIT};

// If the test's text cannot be understood, the process must end; otherwise the test would pass
// without its fault.
static void refuse(const char *variable, const char *text)
{
    dprintf(STDERR_FILENO, "%s=%s is not understood\n", variable, text);
    abort();
}

static void arm_faults(void)
{
    const char *text = getenv("SETTLED_FAULT");
    char copy[1024], *rest = NULL;
    if (!text || !*text)
        return;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *part = strtok_r(copy, ",", &rest); part; part = strtok_r(NULL, ",", &rest)) {
        if (armed.count == FAULTS_MAX)
            refuse("SETTLED_FAULT", text);
        struct fault *fault = &armed.faults[armed.count++];
        char *inner = NULL;
        const char *name = strtok_r(part, ":", &inner), *number = strtok_r(NULL, ":", &inner);
        const char *action = strtok_r(NULL, ":", &inner);
        if (!name || !number || strtol(number, NULL, 10) < 1)
            refuse("SETTLED_FAULT", text);
        snprintf(fault->name, sizeof fault->name, "%s", name);
        snprintf(fault->action, sizeof fault->action, "%s", action ? action : "kill");
        fault->left = strtol(number, NULL, 10);
    }
}

static void open_clock(void)
{
    const char *path = getenv("SETTLED_FAULT_CLOCK");
    if (!path || !*path)
        return;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        refuse("SETTLED_FAULT_CLOCK", path);
    armed.clock = map;
    close(fd);
}

static void arm(void)
{
    arm_faults();
    open_clock();
}

static void act(const struct fault *fault)
{
    dprintf(STDERR_FILENO, "fault point %s: %s\n", fault->name, fault->action);
    if (strcmp(fault->action, "stop") == 0) {
        raise(SIGSTOP);
    } else if (strcmp(fault->action, "abort") == 0) {
        abort();
    } else if (strcmp(fault->action, "kill") != 0) {
        long ms = strtol(fault->action, NULL, 10);
        if (ms < 1)
            refuse("SETTLED_FAULT", fault->action);
        nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
    } else {
        kill(getpid(), SIGKILL);
        for (;;)
            pause(); // the signal may reach another thread first
    }
}

void fault_pass(const char *name)
{
    pthread_once(&armed.once, arm);
    assert(armed.count >= 0);
    assert(armed.count <= FAULTS_MAX);
    for (int i = 0; i < armed.count; i++)
        if (strcmp(armed.faults[i].name, name) == 0 &&
            atomic_fetch_sub(&armed.faults[i].left, 1) == 1)
            act(&armed.faults[i]);
}

int64_t fault_clock_ms(int64_t machine_ms)
{
    pthread_once(&armed.once, arm);
    int64_t shown = armed.clock ? atomic_load(armed.clock) : 0;
    return shown ? shown : machine_ms;
}

#endif
