/* The most that one core can store: copy, checksum and O_DIRECT writes of 1 MiB to a file that was
 * written before, one after the other; and the device's own synced writes of 4 KiB. What the server
 * reaches in bytes stands beside the first, what it reaches in acknowledgements beside the second.
 */
#include "engine/base/hash.h"
#include "perf/micro/micro.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STREAM_PIECE_BYTES (UINT32_C(1) << 20)
#define STREAM_PIECES 64u
#define STREAM_PASSES 4u
#define SYNCED_WRITES 1000u

static uint8_t
    *source; /* [STREAM_PIECES * STREAM_PIECE_BYTES / 4], so that it is not in the cache */
static uint8_t *piece; /* [STREAM_PIECE_BYTES] */

/* One pass over the file; MB/s, or 0. */
static double
stream_pass(int fd, uint32_t *sum)
{
    uint64_t begin = micro_now_ns();

    for (uint32_t i = 0; i < STREAM_PIECES; i++) {
        memcpy(piece, source + (i % (STREAM_PIECES / 4)) * STREAM_PIECE_BYTES, STREAM_PIECE_BYTES);
        *sum += hash_crc32c(0, piece, STREAM_PIECE_BYTES);
        if (pwrite(fd, piece, STREAM_PIECE_BYTES, (off_t)i * STREAM_PIECE_BYTES) !=
            (ssize_t)STREAM_PIECE_BYTES)
            return 0;
    }
    return (double)STREAM_PIECES * STREAM_PIECE_BYTES * 1e3 / (double)(micro_now_ns() - begin);
}

static void
stream_synced(const char *path)
{
    static double samples[SYNCED_WRITES];
    int fd = open(path, O_WRONLY | O_DIRECT | O_DSYNC | O_CLOEXEC);

    if (fd < 0)
        return;
    for (uint32_t i = 0; i < SYNCED_WRITES; i++) {
        uint64_t begin = micro_now_ns();
        if (pwrite(fd, piece, 4096, (off_t)i * 4096) != 4096)
            break;
        samples[i] = (double)(micro_now_ns() - begin) / 1e3;
    }
    close(fd);
    double p99 = micro_quantile(samples, SYNCED_WRITES, 0.99);
    micro_row("raw 4 KiB O_DIRECT|O_DSYNC write, p50",
              micro_quantile(samples, SYNCED_WRITES, 0.5),
              "us",
              "p99, us",
              p99);
}

int
micro_stream(const char *directory)
{
    double samples[STREAM_PASSES];
    char path[512];
    uint32_t sum = 0;

    snprintf(path, sizeof(path), "%s/stream-%d", directory, (int)getpid());
    int fd = open(path, O_CREAT | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
    source = aligned_alloc(4096, (size_t)STREAM_PIECES / 4 * STREAM_PIECE_BYTES);
    piece = aligned_alloc(4096, STREAM_PIECE_BYTES);
    if (fd < 0 || source == NULL || piece == NULL) {
        fprintf(stderr, "micro: cannot write in %s\n", directory);
        return 1;
    }
    memset(source, 1, (size_t)STREAM_PIECES / 4 * STREAM_PIECE_BYTES);
    (void)stream_pass(fd, &sum); /* makes the blocks */
    fsync(fd);
    for (uint32_t i = 0; i < STREAM_PASSES; i++)
        samples[i] = stream_pass(fd, &sum);
    __asm__ __volatile__("" : "+r"(sum));
    close(fd);
    micro_row("memcpy, CRC-32C and O_DIRECT writes of 1 MiB, one core",
              micro_median(samples, STREAM_PASSES),
              "MB/s",
              "slowest pass, MB/s",
              samples[0]);
    stream_synced(path);
    unlink(path);
    free(source);
    free(piece);
    return 0;
}
