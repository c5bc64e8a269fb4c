/* The file is looked at through its open descriptor, so that what was checked is what is read. */
#include "net/exchange/secret_file.h"

#include "hw/mem/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum rc
secret_file_check(int fd, const char *name, size_t bytes_max, struct diag_trail *trail)
{
    struct stat stat;

    if (fstat(fd, &stat) != 0) {
        enum rc rc = rc_from_errno(errno);
        diag_trail_add(trail, "%s: %s", name, rc_text(rc));
        return rc;
    }
    if (!S_ISREG(stat.st_mode)) {
        diag_trail_add(trail, "%s: not a file", name);
        return RC_INVALID;
    }
    if ((stat.st_mode & 077) != 0) {
        diag_trail_add(trail, "%s: others may read or write it; mend: chmod 600 %s", name, name);
        return RC_DENIED;
    }
    if (stat.st_uid != geteuid() && stat.st_uid != 0) {
        diag_trail_add(trail,
                       "%s: belongs to user %u; mend: chown %u %s",
                       name,
                       (unsigned)stat.st_uid,
                       (unsigned)geteuid(),
                       name);
        return RC_DENIED;
    }
    if ((uint64_t)stat.st_size > bytes_max) {
        diag_trail_add(trail, "%s: longer than %zu bytes", name, bytes_max);
        return RC_INVALID;
    }
    return RC_OK;
}

enum rc
secret_file_read(struct secret_file *file,
                 const char *name,
                 size_t bytes_max,
                 struct diag_trail *trail)
{
    FILE *stream = fopen(name, "re");
    enum rc rc;

    *file = (struct secret_file){.bytes = NULL};
    if (stream == NULL) {
        rc = rc_from_errno(errno);
        diag_trail_add(trail, "%s: %s", name, rc_text(rc));
        return rc;
    }
    /* The library's own buffer would keep a copy. */
    (void)setvbuf(stream, NULL, _IONBF, 0);
    rc = secret_file_check(fileno(stream), name, bytes_max, trail);
    if (rc != RC_OK)
        goto out;
    *file = (struct secret_file){.bytes = mem_boot_alloc(bytes_max + 1), .capacity = bytes_max + 1};
    rc = RC_NO_MEMORY;
    if (file->bytes == NULL)
        goto out;
    file->count = fread(file->bytes, 1, bytes_max, stream);
    rc = RC_OK;
    if (ferror(stream) != 0) {
        rc = RC_IO_ERROR;
        diag_trail_add(trail, "%s: %s", name, rc_text(rc));
        secret_file_clear(file);
    }
out:
    (void)fclose(stream);
    return rc;
}

void
secret_file_clear(struct secret_file *file)
{
    if (file->bytes != NULL)
        explicit_bzero(file->bytes, file->capacity);
    mem_boot_free(file->bytes);
    *file = (struct secret_file){.bytes = NULL};
}
