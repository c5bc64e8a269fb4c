/* The real bodies of struct io, for io_create() and for tests that want one body in particular. */
#ifndef EAGRE_HW_IO_IO_BODIES_H
#define EAGRE_HW_IO_IO_BODIES_H

#include "hw/io/io.h"

/* RC_DENIED when the kernel or a seccomp filter forbids io_uring, RC_UNSUPPORTED when the kernel
 * lacks something, with the reason and what mends it in trail. */
enum rc io__create_uring(struct io **ret_io, struct diag_trail *trail) MUST_USE;

enum rc io__create_threads(struct io **ret_io, struct diag_trail *trail) MUST_USE;

/* Whether a request may be submitted at all: a wrong one is a bug of ours. */
void io__check_request(const struct io_request *request);

/* Sets TCP_NODELAY on an accepted connection; failure (not TCP) does no harm. */
void io__prepare_stream(int fd);

#endif
