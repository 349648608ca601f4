// Any bytes up to a zero byte as a configuration file, and the bytes after it as an override (-X):
// they are refused with reasons, or give a configuration within its bounds.
#include "consumer/config/config.h"
#include "text_of.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// A file in memory that holds the bytes; its path is valid until the next call.
static const char *file_of(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0)
        fd = memfd_create("settled.yaml", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

static void check(const struct config *config)
{
    const struct parameters *p = &config->parameters;
    assert(p->grace_ms >= 0 && p->future_tolerance_ms >= 0 && p->late_days >= 0);
    assert(p->grace_ms + p->future_tolerance_ms < DAY_MS);
    assert(p->max_reject_share_ppm >= 0 && p->max_reject_share_ppm <= 1000000);
    assert(config->first_day >= 0 && config->book);
    assert((config->registry.directory != NULL) != (config->registry.url_count > 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config;
    struct error e = {0};
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    size_t file_size = zero ? (size_t)(zero - data) : size;
    char *override = zero ? text_of(zero + 1, size - file_size - 1) : NULL;
    const char *const overrides[] = {override};
    if (config_load(file_of(data, file_size), override ? 1 : 0, overrides, &config, &e) == 0)
        check(&config);
    else
        assert(e.kind == ERROR_CONFIG && e.text[0] && memchr(e.text, 0, sizeof e.text));
    config_free(&config);
    free(override);
    return 0;
}
