// SETTLED_TEST_CASES=PATTERN runs only the cases of a test program whose names match (* and ?);
// without it all run.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

__attribute__((constructor)) static void choose_cases(void)
{
    cmocka_set_test_filter(getenv("SETTLED_TEST_CASES"));
}
