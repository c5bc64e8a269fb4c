/* The driver loads an object file by its path and offers no way to parameters, so each port gets a
 * copy of its own for the moment of its start. Turned down: writing the map after loading (the
 * driver keeps its descriptor for itself), and generating the program here (a second compiler). */
#include "hw/ethdev/ethdev_filter.h"

#include "engine/base/bytes.h"
#include "hw/mem/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char magic[16] = "eagre-filter-v1";

bool
ethdev__filter_fill(uint8_t *object, size_t byte_count, const struct ethdev_filter *filter)
{
    uint8_t *place = memmem(object, byte_count, magic, sizeof(magic));

    if (place == NULL || (size_t)(object + byte_count - place) < sizeof(magic) + sizeof(*filter))
        return false;
    place += sizeof(magic);
    if (memmem(place, (size_t)(object + byte_count - place), magic, sizeof(magic)) != NULL)
        return false;
    put_u32_le(place, filter->ip);
    put_u16_le(place + 4, filter->port_first);
    put_u16_le(place + 6, filter->port_count);
    return true;
}

/* Bytes of the file; negative: errno. */
static ssize_t
read_object(const char *path, uint8_t *object, size_t capacity)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    ssize_t count = pread(fd, object, capacity, 0);
    int error = errno;
    (void)close(fd);
    return count < 0 ? -error : count;
}

static enum rc
write_copy(const uint8_t *object, size_t byte_count, char *path, struct diag_trail *trail)
{
    int fd = mkostemps(path, 2, O_CLOEXEC);

    if (fd < 0) {
        diag_trail_add(trail, "copy of the port filter %s: %s", path, strerror(errno));
        path[0] = '\0';
        return RC_DENIED;
    }
    bool written = pwrite(fd, object, byte_count, 0) == (ssize_t)byte_count;
    (void)close(fd);
    if (written)
        return RC_OK;
    diag_trail_add(trail, "copy of the port filter %s cannot be written", path);
    (void)unlink(path);
    path[0] = '\0';
    return RC_NO_SPACE;
}

/* args->text with the value of xdp_prog= replaced. */
static enum rc
replace_path(struct ethdev_args *args, const char *path, struct diag_trail *trail)
{
    char text[ETHDEV_TEXT_MAX];
    const char *at = strstr(args->text, ",xdp_prog=");

    if (at == NULL)
        return RC_INVALID;
    const char *rest = at + strlen(",xdp_prog=") + strlen(args->object_path);
    int used = snprintf(
        text, sizeof(text), "%.*s,xdp_prog=%s%s", (int)(at - args->text), args->text, path, rest);
    if (used < 0 || (size_t)used >= sizeof(text)) {
        diag_trail_add(trail, "devargs with %s become too long", path);
        return RC_INVALID;
    }
    (void)snprintf(args->text, sizeof(args->text), "%s", text);
    return RC_OK;
}

enum rc
ethdev__filter_prepare(struct ethdev_args *args,
                       const struct ethdev_filter *filter,
                       char *ret_path,
                       size_t capacity,
                       struct diag_trail *trail)
{
    char path[] = "/tmp/eagre-filter-XXXXXX.o";
    enum rc rc = RC_OK;

    ret_path[0] = '\0';
    if (args->object_path[0] == '\0')
        return RC_OK;
    uint8_t *object = mem_boot_alloc(ETHDEV_FILTER_BYTES_MAX);
    if (object == NULL)
        return RC_NO_MEMORY;
    ssize_t count = read_object(args->object_path, object, ETHDEV_FILTER_BYTES_MAX);
    if (count < 0) {
        diag_trail_add(trail, "port filter %s: %s", args->object_path, strerror((int)-count));
        rc = count == -ENOENT ? RC_NOT_FOUND : RC_DENIED;
    } else if (ethdev__filter_fill(object, (size_t)count, filter)) {
        rc = write_copy(object, (size_t)count, path, trail);
        if (rc == RC_OK)
            rc = replace_path(args, path, trail);
        if (rc == RC_OK)
            (void)snprintf(ret_path, capacity, "%s", path);
        else if (path[0] != '\0')
            (void)unlink(path);
    }
    mem_boot_free(object);
    return rc;
}
