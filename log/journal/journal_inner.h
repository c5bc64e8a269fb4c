/* The inside of struct journal, for the files of log/journal and its tests. */
#ifndef EAGRE_LOG_JOURNAL_JOURNAL_INNER_H
#define EAGRE_LOG_JOURNAL_JOURNAL_INNER_H

#include "log/journal/journal.h"

_Static_assert(FORMAT_BLOCK_BYTES == DISK_ALIGN_BYTES, "format blocks are the unit of direct I/O");
_Static_assert(JOURNAL_PIECES_MAX + 1 <= IO_IOVEC_MAX, "one request writes a group");

/* A slot is a header table and the group it belongs to:
 *
 *   FREE --chosen--> OPEN --journal_submit()--> WRITING --completed--> DONE --prefix passes--> FREE
 *                                                 |  ^ continued after a short write
 *                                                 +--+                                      */
enum journal_slot_state {
    JOURNAL_SLOT_FREE,
    JOURNAL_SLOT_OPEN,    /* takes entries; exactly one, unless the journal failed */
    JOURNAL_SLOT_WRITING, /* its write is under way, or waits for room in the ring */
    JOURNAL_SLOT_DONE,    /* on the device; a group before it is not */
};

struct journal_slot {
    enum journal_slot_state state;
    bool wants_submit; /* WRITING: a continuation that the ring had no room for */
    uint8_t *table;    /* [table_bytes], 4 KiB aligned */
    uint32_t entry_count;
    uint32_t payload_bytes;
    uint16_t version; /* that its entries need */
    uint32_t piece_count;
    struct iovec pieces[JOURNAL_PIECES_MAX]; /* of the payload; borrowed while WRITING */
    uint64_t number;
    uint32_t header_bytes;
    uint32_t file_idx;
    uint64_t position;    /* in the file */
    uint64_t total_bytes; /* of the write */
    uint64_t done_bytes;  /* whole blocks that are written */
    uint32_t continued;
    uint32_t stalled; /* continuations in a row that brought nothing */
    uint64_t submitted_ns;
    struct iovec iovecs[JOURNAL_PIECES_MAX + 1]; /* what is left to be written */
};

struct journal {
    struct journal_config config;
    uint64_t epoch;
    uint64_t durable_through;
    uint64_t submitted_through;
    uint32_t open_slot;
    uint32_t active_file; /* JOURNAL_NO_FILE_IDX before the first group */
    uint32_t next_sequence;
    uint32_t previous_header_crc;
    uint32_t writes_under_way;
    uint32_t table_bytes;
    enum rc failure;
    bool is_open; /* journal_open_files() went well */
    struct journal_slot slots[JOURNAL_TABLE_COUNT];
    struct journal_file files[JOURNAL_FILE_COUNT];
};

#define JOURNAL_NO_FILE_IDX UINT32_MAX

#endif
