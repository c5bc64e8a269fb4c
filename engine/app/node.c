#include "engine/app/node.h"

#include "engine/base/bytes.h"

/* Random version 4 UUID (RFC 9562 section 5.4). */
static void
node_uuid(struct clock *clock, uint8_t *uuid)
{
    put_u64_le(uuid, clock_random(clock));
    put_u64_le(uuid + 8, clock_random(clock));
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

static enum rc
node_create(struct disk *disk,
            struct clock *clock,
            const struct settings *settings,
            struct meta_block *ret_meta,
            struct diag_trail *trail)
{
    static uint8_t file[META_FILE_BYTES];
    struct meta_block meta = {
        .node_id = (uint32_t)settings->broker_id,
        .created_ms = clock_wall_ms(clock),
    };

    node_uuid(clock, meta.cluster_uuid);
    node_uuid(clock, meta.node_uuid);
    meta_encode(&meta, file);
    enum rc rc = disk_replace_file(disk, FORMAT_META_PATH, file, sizeof(file));
    if (rc != RC_OK) {
        diag_trail_add(trail, "write %s: %s", FORMAT_META_PATH, rc_text(rc));
        return rc;
    }
    *ret_meta = meta;
    return RC_OK;
}

static enum rc
node_check(const struct settings *settings, const struct meta_block *meta, struct diag_trail *trail)
{
    if (meta->node_id == (uint32_t)settings->broker_id)
        return RC_OK;
    diag_trail_add(trail,
                   "the data directory is that of broker %u, and --broker.id is %u",
                   meta->node_id,
                   (uint32_t)settings->broker_id);
    return RC_INVALID;
}

enum rc
node_open(struct disk *disk,
          struct clock *clock,
          const struct settings *settings,
          struct meta_block *ret_meta,
          struct diag_trail *trail)
{
    static uint8_t file[META_FILE_BYTES];
    size_t count = 0;
    int fd;

    enum rc rc = disk_open(disk, FORMAT_META_PATH, DISK_READ, &fd);
    if (rc == RC_NOT_FOUND)
        return node_create(disk, clock, settings, ret_meta, trail);
    if (rc == RC_OK) {
        rc = disk_read(disk, fd, file, sizeof(file), 0, &count);
        disk_close(disk, fd);
    }
    if (rc == RC_OK)
        rc = meta_decode(file, count, ret_meta);
    if (rc == RC_NEWER_FORMAT)
        diag_trail_add(
            trail, "%s: written by a newer version of eagre; use that version", FORMAT_META_PATH);
    else if (rc == RC_CORRUPT)
        diag_trail_add(trail, "%s: no intact copy; restore it from a backup", FORMAT_META_PATH);
    else if (rc != RC_OK)
        diag_trail_add(trail, "read %s: %s", FORMAT_META_PATH, rc_text(rc));
    return rc == RC_OK ? node_check(settings, ret_meta, trail) : rc;
}
