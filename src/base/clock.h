#ifndef COPPICE_BASE_CLOCK_H
#define COPPICE_BASE_CLOCK_H

/* clock: the one place that asks the host what time it is. */

#include <stdint.h>

/* ns since 1970, which may jump. */
int64_t clock_wall_ns(void);

/* ns since some time in the past; it only goes forward. For waiting. */
int64_t clock_monotonic_ns(void);

#endif
