/* Reads a stopped server's data directory and says what is wrong in it: every checksum, every
 * index, and whether the structures agree with each other. Never writes: it is given a disk that
 * only reads (disk_open_reading), and asks for nothing else.
 *
 *   inspect_verify(&options, &totals, &trail)
 *       -> hooks.finding()    each thing found, as it is found
 *       -> hooks.progress()   bytes looked at so far, now and then
 *       -> hooks.partition()  at the end, one summary per partition
 *
 * Order, and with it the rules whose labels findings carry: eagre.meta; checkpoints (R2 to R4); the
 * journal by the rules of log/journal/journal_scan.h (S1 to S8), and then every group that is left
 * in its files; per partition the manifest, the directory and every segment (R7, R8, R15, R16, R18
 * to R22 of log/recover/recover.h); at last what replay would do (R10, R12). Labels of its own:
 *
 *   V1 a file or copy beside the one that counts is damaged
 *   V2 structures contradict each other
 *   V3 a run or batch is damaged
 *   V4 sums of a header do not agree with what it covers
 *   V5 an index or footer is wrong
 *   V6 records inside a batch are wrong
 *   V7 more than fits the memory here
 *   V8 the metadata log
 *
 * Memory: one arena of INSPECT_MEMORY_BYTES at most of address space, touched as far as it is used,
 * and the checkpoint's size. Runs on: tools.  Allocates: that, given back.  Blocks: yes. */
#ifndef EAGRE_ENGINE_INSPECT_INSPECT_H
#define EAGRE_ENGINE_INSPECT_INSPECT_H

#include "engine/base/diag.h"
#include "hw/disk/disk.h"
#include "log/format/segment_format.h"

#define INSPECT_PARTITIONS_MAX (128u * 1024)
#define INSPECT_TOPICS_MAX (64u * 1024)
#define INSPECT_TILES_MAX 64u
#define INSPECT_FILES_MAX (66u * 1024)         /* names of one directory */
#define INSPECT_RECORDS_BYTES_MAX (128u << 20) /* of one batch, decompressed */
#define INSPECT_SECTIONS_BYTES_MAX (32u << 20) /* of one segment's footer */
#define INSPECT_RUN_BYTES_MAX (RUN_BATCH_BYTES_MAX + 2 * FORMAT_BLOCK_BYTES)
#define INSPECT_FINDINGS_PER_FILE_MAX 64u /* told one by one; more are counted */
#define INSPECT_MEMORY_BYTES (GIB)

enum inspect_grade {
    INSPECT_NOTE,    /* normal after a crash, or mended by the next start; not a finding */
    INSPECT_WARNING, /* wrong, but nothing that was acknowledged depends on it */
    INSPECT_DAMAGE,  /* acknowledged records are or may be lost, or a start would halt or refuse */
    INSPECT_GRADES
};

struct inspect_finding {
    enum inspect_grade grade;
    const char *rule;     /* "S6", "R7", "V3" */
    const char *file;     /* relative to the data directory; borrowed for the call */
    uint64_t position;    /* byte in the file */
    uint64_t incarnation; /* 0: of no partition */
    const char *what;     /* borrowed for the call */
};

struct inspect_partition_sum {
    uint64_t incarnation;
    const char *topic; /* "" when the metadata log does not name it; borrowed for the call */
    uint32_t partition;
    const char *state; /* "open", "halted", "dropped" */
    uint32_t segments; /* files with runs, the active one included */
    uint64_t start_offset;
    uint64_t next_offset; /* with what the journal holds */
    uint64_t batches;     /* looked at, in segments and journal */
    uint64_t records;
    uint64_t bytes; /* of those batches */
    uint32_t warnings;
    uint32_t damages;
};

struct inspect_totals {
    uint64_t counts[INSPECT_GRADES];
    uint64_t bytes_read;
    uint32_t tiles;
    uint32_t partitions;
    uint64_t segments;
    uint64_t groups; /* journal groups that are whole, of any epoch */
    uint64_t batches;
    uint64_t records;
    uint64_t topics;
    uint64_t producers;
    char cluster_uuid[33]; /* hexadecimal */
    char node_uuid[33];
};

struct inspect_hooks {
    void (*finding)(void *ctx, const struct inspect_finding *finding);
    /* bytes_total is an estimate made at the start. NULL: not told. */
    void (*progress)(void *ctx, uint64_t bytes_done, uint64_t bytes_total);
    void (*partition)(void *ctx, const struct inspect_partition_sum *sum);
    void *ctx;
};

struct inspect_options {
    struct disk *disk;
    const char *topic; /* NULL: all; the segments of no other are read */
    bool quick;        /* headers, footers and indexes only: no batch is read but the metadata log's
                          and those that a start would replay */
    struct inspect_hooks hooks;
};

/* RC_OK: everything that could be read was judged; totals.counts says how well. RC_NOT_FOUND: no
 * data directory of ours, or no such topic. RC_NEWER_FORMAT, RC_IO_ERROR, RC_NO_MEMORY ...: nothing
 * more could be told; trail says why. */
enum rc inspect_verify(const struct inspect_options *options,
                       struct inspect_totals *ret_totals,
                       struct diag_trail *trail) MUST_USE;

/* ---- a window over a file, for verify and dump ---- */

struct inspect_file {
    struct disk *disk;
    int fd;
    uint64_t bytes; /* size */
    uint8_t *buffer;
    uint64_t capacity; /* multiple of 4096 */
    uint64_t window_position;
    uint64_t window_bytes;
    uint64_t ahead_bytes; /* read at least so much at once */
    uint64_t read_bytes;  /* so far */
    enum rc rc;           /* of the last read that failed */
};

/* Opens path for viewing through buffer, which is 4 KiB aligned and the caller's. */
enum rc inspect_file_open(struct inspect_file *file,
                          struct disk *disk,
                          const char *path,
                          uint8_t *buffer,
                          uint64_t capacity) MUST_USE;
/* Bytes [position, position + bytes), valid until the next call; position is a multiple of 4096,
 * bytes <= capacity - 4096. NULL: the file ends before (file->rc is RC_OK), or reading failed. */
const uint8_t *inspect_file_view(struct inspect_file *file, uint64_t position, uint64_t bytes);
void inspect_file_close(struct inspect_file *file);

#endif
