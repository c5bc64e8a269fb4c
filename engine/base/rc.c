#include "engine/base/rc.h"

#include "engine/base/base.h"

#include <errno.h>

struct rc_row {
    const char *name;
    const char *text;
    enum rc_class rc_class;
};

#define RC(name, text, class) {#name, text, RC_CLASS_##class},
static const struct rc_row rc_rows[] = {
#include "engine/base/rc.def"
};
#undef RC

static const struct rc_row *
rc_row(enum rc rc)
{
    static const struct rc_row unknown = {"?", "unknown result code", RC_CLASS_FATAL};

    return (size_t)rc < ARRAY_COUNT(rc_rows) ? &rc_rows[rc] : &unknown;
}

const char *
rc_text(enum rc rc)
{
    return rc_row(rc)->text;
}

const char *
rc_name(enum rc rc)
{
    return rc_row(rc)->name;
}

enum rc_class
rc_class(enum rc rc)
{
    return rc_row(rc)->rc_class;
}

enum rc
rc_from_errno(int error)
{
    switch (error) {
    case EAGAIN:
        return RC_AGAIN;
    case EINTR:
        return RC_INTERRUPTED;
    case ETIMEDOUT:
        return RC_TIMED_OUT;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return RC_NO_SPACE;
    case EMFILE:
    case ENFILE:
        return RC_NO_DESCRIPTORS;
    case ENOMEM:
        return RC_NO_MEMORY;
    case EBUSY:
    case EADDRINUSE:
        return RC_BUSY;
    case EINVAL:
    case ENAMETOOLONG:
        return RC_INVALID;
    case EOPNOTSUPP:
    case ENOSYS:
        return RC_UNSUPPORTED;
    case EACCES:
    case EPERM:
    case EROFS:
        return RC_DENIED;
    case EEXIST:
        return RC_EXISTS;
    case ENOENT:
    case ENOTDIR:
        return RC_NOT_FOUND;
    case ECONNRESET:
    case EPIPE:
    case ECANCELED:
    case ECONNABORTED:
        return RC_CLOSED;
    default:
        return RC_IO_ERROR;
    }
}
