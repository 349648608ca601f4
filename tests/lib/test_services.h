// The services that integration tests run against, as tests/run.sh has started them. A missing one
// is a failure.
#pragma once

#include <stdio.h>
#include <stdlib.h>

static inline const char *test_environment(const char *name)
{
    const char *value = getenv(name);
    if (value && *value)
        return value;
    fprintf(stderr,
            "%s is not set: run tests/run.sh, or tests/lib/services.py run --kafka --registry "
            "--postgres -- ctest\n",
            name);
    exit(1);
}

static inline const char *test_brokers(void)
{
    return test_environment("SETTLED_TEST_BROKERS");
}
static inline const char *test_dsn(void)
{
    return test_environment("SETTLED_TEST_DSN");
} // of a superuser
static inline const char *test_registry(void)
{
    return test_environment("SETTLED_TEST_REGISTRY");
}
