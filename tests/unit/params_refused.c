// What the compiler must refuse of a list of parameters: CASE 0 is in order, each other is not.
#include "consumer/postgres/store_values.h"

#define EIGHT(x) x, x, x, x, x, x, x, x
#define MOST(x) EIGHT(x), EIGHT(x), EIGHT(x), EIGHT(x)

int params_refused(int64_t number, const char *text);

int params_refused(int64_t number, const char *text)
{
#if CASE == 0
    struct sql_params params = SQL_PARAMS(MOST(sql_int8(number)));
    (void)text;
#elif CASE == 1 // too many
    struct sql_params params = SQL_PARAMS(MOST(sql_int8(number)), sql_text(text));
#elif CASE == 2 // too large for its type
    struct sql_params params = SQL_PARAMS(sql_int4(number), sql_text(text));
#elif CASE == 3 // a text for a number
    struct sql_params params = SQL_PARAMS(sql_int8(text), sql_int8(number));
#elif CASE == 4 // no value of a type
    struct sql_params params = SQL_PARAMS(number, sql_text(text));
#endif
    return params.count;
}
