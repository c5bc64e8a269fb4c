/* A file with secrets in it, read whole at start: refused when others can read it, cleared after
 * use. Private to net/exchange. */
#ifndef EAGRE_NET_EXCHANGE_SECRET_FILE_H
#define EAGRE_NET_EXCHANGE_SECRET_FILE_H

#include "engine/base/base.h"
#include "engine/base/diag.h"
#include "engine/base/rc.h"

struct secret_file {
    char *bytes; /* [capacity], followed by a zero */
    size_t count;
    size_t capacity;
};

/* Reads at most bytes_max bytes of a regular file that belongs to this user or to root and that
 * neither group nor others may read or write. RC_DENIED, RC_NOT_FOUND, RC_INVALID (too long, not a
 * file), RC_NO_MEMORY, RC_IO_ERROR; the trail names the file and what mends it.
 * Allocates: yes; given back by secret_file_clear().  Blocks: yes, at start only. */
enum rc secret_file_read(struct secret_file *file,
                         const char *name,
                         size_t bytes_max,
                         struct diag_trail *trail) MUST_USE;
/* Overwrites and gives back. Twice is allowed. */
void secret_file_clear(struct secret_file *file);

#endif
