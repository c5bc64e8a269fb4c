/* What every load generator asks of the operating system: time, and CPU seconds used. */
#ifndef EAGRE_PERF_LOAD_PROCESS_H
#define EAGRE_PERF_LOAD_PROCESS_H

#include "engine/base/base.h"

uint64_t process_now_ns(void); /* CLOCK_MONOTONIC */
/* User and system seconds so far; pid <= 0 or gone: 0. */
double process_cpu_s(int pid);
double process_own_cpu_s(void);

#endif
