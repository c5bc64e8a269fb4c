/* Result codes for trouble that comes from the environment: disk, peer, configuration.
 *
 * A bug stops the program (check.h); load is answered with a count ("took n of m"); everything else
 * is an enum rc, which must be used. Runs on: any core. Allocates: nothing. Blocks: never. */
#ifndef EAGRE_ENGINE_BASE_RC_H
#define EAGRE_ENGINE_BASE_RC_H

#define RC(name, text, class) RC_##name,
enum rc {
#include "engine/base/rc.def"
    RC_COUNT
};
#undef RC

enum rc_class { RC_CLASS_OK, RC_CLASS_RETRY, RC_CLASS_REFUSE, RC_CLASS_CORRUPT, RC_CLASS_FATAL };

/* One short English sentence without a full stop; static storage, never NULL. */
const char *rc_text(enum rc rc);

/* The code's name without the prefix, as in "NO_SPACE"; static storage, never NULL. */
const char *rc_name(enum rc rc);

enum rc_class rc_class(enum rc rc);

/* Maps an errno value (> 0) to the code that callers act on; unknown values become RC_IO_ERROR. */
enum rc rc_from_errno(int error);

#endif
