// A few threads that take jobs from one bounded queue, in their order.
#pragma once

#include "pricing/error.h"

#include <stdbool.h>
#include <stddef.h>

struct http_pool;

// `work` is called with each job, and with the number of the thread, from 0. Errors: ERROR_RESTART.
int http_pool_create(int threads, void (*work)(void *job, int thread), struct http_pool **out,
                     struct error *e);
// False: HTTP_WAITING_MAX jobs wait already; this one stays with the caller.
bool http_pool_put(struct http_pool *pool, void *job);
// No job is taken any more; waits until all that were put are done.
void http_pool_end(struct http_pool *pool);
// It has ended. NULL is nothing.
void http_pool_free(struct http_pool *pool);
