// Faults that a test injects into a build made for it (-DSETTLED_FAULT_POINTS=ON): at a named place
// the process is killed, stopped or delayed, and its wall clock shows what the test says. Any other
// build contains nothing of this.
//
//   SETTLED_FAULT=NAME:N[:ACTION][,…]
//       What to do at the Nth time that NAME is passed: kill (SIGKILL; the default), stop
//       (SIGSTOP), abort, or a number of milliseconds to wait.
//   SETTLED_FAULT_CLOCK=FILE
//       The first eight bytes of the file, in the machine's order, are the wall clock: milliseconds
//       since 1970, or 0 for the machine's own.
#pragma once

#include <stdint.h>

#ifdef SETTLED_FAULT_POINTS
#define fault_point(name) fault_pass(#name)
void fault_pass(const char *name);
int64_t fault_clock_ms(int64_t machine_ms);
#else
#define fault_point(name) ((void)0)
#define fault_clock_ms(machine_ms) (machine_ms)
#endif
