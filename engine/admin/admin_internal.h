/* What the files of this folder share: admin.c (life, waiting for control, routes), admin_json.c
 * (documents), admin_collect.c (metrics), admin_console.c (the page). */
#ifndef EAGRE_ENGINE_ADMIN_ADMIN_INTERNAL_H
#define EAGRE_ENGINE_ADMIN_ADMIN_INTERNAL_H

#include "engine/admin/admin.h"
#include "net/http/http.h"

#include <jansson.h>
#include <semaphore.h>

#define ADMIN_TEXT_BYTES (16u << 20) /* longest answer; touched as far as it is used */
/* Committed offsets that lag is computed of and told, over all groups: one scrape's work on
 * control's thread stays below some milliseconds. More are counted as left out. */
#define ADMIN_LAG_OFFSETS_MAX 16384u
#define ADMIN_ID_BYTES_MAX 1025u      /* of an id in a question, with the NUL */
#define ADMIN_TRANSACTIONS_MAX 16384u /* told in one answer */
#define ADMIN_TILES_MAX (ADMIN_CORES_MAX * CORE_TILES_MAX)

struct admin {
    struct admin_config config;
    struct http *http;
    struct clock clock; /* of HTTP's thread */
    uint64_t begin_ns;
    _Atomic bool is_announced; /* written by admin_announce(), read by HTTP's thread */
    sem_t answered;
    char *text; /* [ADMIN_TEXT_BYTES] */
    size_t text_bytes;
    /* a question's input and output */
    bool want_partitions;
    char *want_id; /* group or transactional id; NULL: all; [ADMIN_ID_BYTES_MAX] otherwise */
    char want_text[ADMIN_ID_BYTES_MAX];
    json_t *document;
    /* copies that are exported, one per tile */
    struct metrics_tile *tiles; /* [tile_count] */
    const struct metrics_tile *tile_list[ADMIN_TILES_MAX];
    uint32_t tile_count;
    /* place in the list of partitions during an export, on control's thread */
    struct control *walked;
    struct control_topic_view walk_topic;
    uint32_t walk_cursor;
    uint32_t walk_partition;
    /* place in the list of committed offsets, on control's thread */
    struct group_view walk_group;
    uint32_t group_cursor;
    uint32_t offset_cursor;
    struct admin_lag *lag; /* readings of high watermarks */
};

/* One committed offset and what it lags. */
struct admin_offset {
    struct bytes group;
    struct group_offset_view offset;
    uint64_t incarnation;
    const _Atomic uint64_t *end; /* high watermark; NULL: no such partition, or not served */
    uint64_t lag_records;
    uint64_t lag_ms;
};

static inline uint64_t
admin__get(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* The kind of a tile's object, by address. */
enum metrics_owner
admin__owner(const struct admin *admin, const struct tile *tile, uint32_t *ret_idx);
/* What the log tile counted for a partition, or NULL. */
const struct metrics_partition *admin__partition_metrics(const struct admin *admin,
                                                         const struct control_partition_view *view);

/* admin_json.c; the first two run on control's thread. */
void admin__build_topics(struct control *control, void *ctx);
json_t *admin__build_tiles(struct admin *admin);

/* admin_groups.c; on control's thread */
void admin__build_groups(struct control *control, void *ctx);
/* Ids are any bytes; what is not UTF-8 is shown as U+FFFD, what is not there as null. */
json_t *admin__text(struct bytes bytes);

/* admin_transactions.c; on control's thread */
void admin__build_transactions(struct control *control, void *ctx);

/* admin_lag.c; on control's thread */
struct admin_lag;
size_t admin__lag_bytes(void);
/* Reads the high watermarks of partitions that somebody has committed, once a second at most. */
void admin__sample_lag(struct admin *admin, struct control *control);
/* Begins at the first group's first offset. */
void admin__begin_offsets(struct admin *admin, struct control *control);
bool admin__next_offset(struct admin *admin, struct admin_offset *ret);
/* Fills what an offset lags; its group and offset are given, admin->walked is set. */
void admin__fill_lag(struct admin *admin, struct admin_offset *offset);

/* admin_collect.c */
void admin__collect(struct admin *admin);
void admin__export(struct control *control, void *ctx); /* on control's thread */

/* admin_console.c */
struct bytes admin__console(void);

#endif
