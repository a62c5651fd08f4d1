/* Would a registration of this memory work? One function, one struct.
 *
 * Link with libgup_preflight.a, and with what it needs of the system: -lpthread -ldl -lm.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef GUP_PREFLIGHT_H
#define GUP_PREFLIGHT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a registration would come to. Texts end with a 0 byte; long ones are cut. */
struct gup_preflight {
	int32_t error;          /* the errno that the call would set; 0 if it would work */
	uint64_t pages;         /* pages that the range touches */
	uint64_t stop_page;     /* number of the page that stops it, from 0; UINT64_MAX for none */
	uint64_t memlock_short; /* bytes by which RLIMIT_MEMLOCK is too small; 0 if it is enough */
	char rule[16];          /* the rule that refuses, for `gup rule`; "" for none */
	char why[256];          /* why it fails, or why it could not be looked at */
	char instead[256];      /* what to do; "" if nothing is known */
};

/* What `consumer` would get from `len` bytes at `addr` of this process: the names are those of
 * `gup explain --as`, such as "io-uring-buffer", "rdma", "xdp-umem", "o-direct-read".
 *
 * Returns 0 if the call would work, 1 if it would fail, -1 if it could not be looked at (`why` says
 * it). Reads /proc/self and touches nothing. `out` may not be NULL. Any thread may call it.
 */
int gup_preflight(const void *addr, size_t len, const char *consumer, struct gup_preflight *out);

#ifdef __cplusplus
}
#endif

#endif
