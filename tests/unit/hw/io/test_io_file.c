/* Goal: both real bodies move file bytes alike: positioned, gathered, synced, short at the end,
 * errors as results. Method: one suite run over every body that the host has; bad input first;
 * contents compared by pread. */
#include "io_bench.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Test(io_submit, stops_the_program_on_a_request_without_a_buffer, .signal = SIGABRT, .timeout = 20)
{
    struct io *io = io_bench_create(IO_BODY_AUTO);

    (void)!io_submit(io, &(struct io_request){.op = IO_READ, .fd = 0, .bytes = 1});
}

FOR_EACH_BODY(io_file, answers_a_bad_descriptor_with_an_error)
{
    struct io *io = io_bench_create(body);
    uint8_t byte = 0;
    struct iovec one = {&byte, 1};

    static const enum io_op ops[] = {
        IO_READ, IO_WRITE, IO_WRITEV, IO_FDATASYNC, IO_ACCEPT, IO_RECV, IO_SENDV, IO_POLL};
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++) {
        struct io_request request = {.tag = i + 1, .op = ops[i], .fd = 9999, .buffer = &byte};

        request.bytes = 1;
        request.iovecs = &one;
        request.iovec_count = 1;
        cr_assert_eq(io_bench_run(io, &request), -EBADF, "operation %zu", i);
    }
    io_destroy(io);
}

FOR_EACH_BODY(io_file, answers_a_write_to_a_read_only_descriptor_with_an_error)
{
    struct io *io = io_bench_create(body);
    char path[] = "/tmp/eagre-io-XXXXXX";
    int fd = mkstemp(path);
    int read_only = open(path, O_RDONLY | O_CLOEXEC);
    struct io_request request = {.op = IO_WRITE, .fd = read_only, .buffer = path, .bytes = 4};

    unlink(path);
    cr_assert_eq(io_bench_run(io, &request), -EBADF);
    close(fd);
    close(read_only);
    io_destroy(io);
}

FOR_EACH_BODY(io_file, answers_an_unaligned_direct_write_with_an_error)
{
    struct io *io = io_bench_create(body);
    int fd = io_bench_file(O_DIRECT);
    uint8_t *buffer = aligned_alloc(4096, 8192);
    struct io_request request = {.op = IO_WRITE, .fd = fd, .buffer = buffer, .bytes = 777};

    memset(buffer, 1, 8192);
    cr_assert_eq(io_bench_run(io, &request), -EINVAL);
    free(buffer);
    close(fd);
    io_destroy(io);
}

FOR_EACH_BODY(io_file, writes_and_reads_at_positions_beyond_four_gibibytes)
{
    struct io *io = io_bench_create(body);
    int fd = io_bench_file(0);
    char text[] = "far away";
    char back[16] = "";
    struct io_request request = {.tag = io_tag(3, 77), .op = IO_WRITE, .fd = fd, .buffer = text};

    request.bytes = sizeof(text);
    request.position = 5 * GIB + 1;
    cr_assert_eq(io_bench_run(io, &request), (int32_t)sizeof(text));
    request.op = IO_READ;
    request.buffer = back;
    request.bytes = sizeof(back);
    /* Short: the file ends after the text. */
    cr_assert_eq(io_bench_run(io, &request), (int32_t)sizeof(text));
    cr_assert_str_eq(back, text);
    request.position = 6 * GIB;
    cr_assert_eq(io_bench_run(io, &request), 0);
    close(fd);
    io_destroy(io);
}

FOR_EACH_BODY(io_file, gathers_a_write_from_many_pieces)
{
    enum { PIECE = 4096 };
    struct io *io = io_bench_create(body);
    int fd = io_bench_file(O_DIRECT | O_DSYNC);
    uint8_t *buffer = aligned_alloc(PIECE, (size_t)PIECE * IO_IOVEC_MAX);
    uint8_t *back = aligned_alloc(PIECE, (size_t)PIECE * IO_IOVEC_MAX);
    struct iovec pieces[IO_IOVEC_MAX];

    for (uint32_t i = 0; i < IO_IOVEC_MAX; i++) {
        /* From back to front, so that a body that ignored the order would be seen. */
        uint32_t from = IO_IOVEC_MAX - 1 - i;

        memset(buffer + (size_t)from * PIECE, (int)i, PIECE);
        pieces[i] = (struct iovec){buffer + (size_t)from * PIECE, PIECE};
    }
    struct io_request request = {.op = IO_WRITEV, .fd = fd, .position = PIECE};
    request.iovecs = pieces;
    request.iovec_count = IO_IOVEC_MAX;
    cr_assert_eq(io_bench_run(io, &request), (int32_t)(PIECE * IO_IOVEC_MAX));
    cr_assert_eq(pread(fd, back, (size_t)PIECE * IO_IOVEC_MAX, PIECE),
                 PIECE * (ssize_t)IO_IOVEC_MAX);
    for (uint32_t i = 0; i < IO_IOVEC_MAX; i++)
        cr_assert_eq(back[(size_t)i * PIECE + 17], i);
    request = (struct io_request){.op = IO_FDATASYNC, .fd = fd};
    cr_assert_eq(io_bench_run(io, &request), 0);
    free(buffer);
    free(back);
    close(fd);
    io_destroy(io);
}

FOR_EACH_BODY(io_file, refuses_the_request_after_the_last_and_loses_none)
{
    enum { BYTES = 512 };
    struct io *io = io_bench_create(body);
    int fd = io_bench_file(0);
    static struct io_completion completions[IO_REQUESTS_MAX];
    static bool seen[IO_REQUESTS_MAX];
    uint8_t *buffer = malloc((size_t)BYTES * IO_REQUESTS_MAX);

    memset(seen, 0, sizeof(seen));
    for (uint32_t i = 0; i < IO_REQUESTS_MAX; i++) {
        uint8_t *piece = buffer + (size_t)i * BYTES;
        struct io_request request = {.tag = i, .op = IO_WRITE, .fd = fd, .buffer = piece};

        memset(piece, (int)(i % 251), BYTES);
        request.bytes = BYTES;
        request.position = (uint64_t)i * BYTES;
        cr_assert(io_submit(io, &request), "request %u", i);
    }
    cr_assert_eq(io->under_way, IO_REQUESTS_MAX);
    struct io_request one_more = {.op = IO_FDATASYNC, .fd = fd};
    cr_assert_not(io_submit(io, &one_more));
    io_bench_collect(io, completions, IO_REQUESTS_MAX);
    for (uint32_t i = 0; i < IO_REQUESTS_MAX; i++) {
        cr_assert_eq(completions[i].result, BYTES);
        cr_assert_lt(completions[i].tag, IO_REQUESTS_MAX);
        cr_assert_not(seen[completions[i].tag], "tag %u came twice", (unsigned)completions[i].tag);
        seen[completions[i].tag] = true;
    }
    cr_assert_eq(io->overflows, 0u);
    cr_assert_eq(io_bench_run(io, &one_more), 0);
    for (uint32_t i = 0; i < IO_REQUESTS_MAX; i++) {
        uint8_t byte = 255;

        cr_assert_eq(pread(fd, &byte, 1, (off_t)i * BYTES + 100), 1);
        cr_assert_eq(byte, i % 251);
    }
    free(buffer);
    close(fd);
    io_destroy(io);
}

FOR_EACH_BODY(io_file, keeps_going_over_many_more_requests_than_slots)
{
    struct io *io = io_bench_create(body);
    int fd = io_bench_file(0);
    struct io_completion completions[64];
    uint64_t sum = 0;
    uint32_t submitted = 0;
    uint32_t done = 0;
    uint8_t byte = 1;

    while (done < 20000) {
        while (submitted < 20000 && submitted - done < 100) {
            struct io_request request = {.tag = submitted++, .op = IO_WRITE, .fd = fd};

            request.buffer = &byte;
            request.bytes = 1;
            request.position = request.tag % 4096;
            cr_assert(io_submit(io, &request));
        }
        uint32_t count = io_reap(io, completions, 64);

        for (uint32_t i = 0; i < count; i++) {
            cr_assert_eq(completions[i].result, 1);
            sum += completions[i].tag;
        }
        done += count;
        if (count == 0)
            io_wait(io, NS_PER_S);
    }
    cr_assert_eq(sum, UINT64_C(19999) * 20000 / 2);
    close(fd);
    io_destroy(io);
}
