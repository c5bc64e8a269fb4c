/* Goal: the walkers never leave their buffer, and what is written is what is read.
 * Method: bad input first (short, over-long), then round trips over the edges of each type. */
#include "engine/base/bytes.h"
#include "engine/base/rc.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

Test(reader, fails_once_and_stays_failed_when_input_ends, .timeout = 10)
{
    uint8_t bytes[3] = {1, 2, 3};
    struct reader reader = reader_over(bytes, sizeof(bytes));

    cr_assert_eq(reader_u32_be(&reader), 0u);
    cr_assert(reader.failed);
    cr_assert_eq(reader_u8(&reader), 0u);
}

Test(reader, refuses_varints_that_do_not_end_or_overflow, .timeout = 10)
{
    uint8_t endless[11] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80};
    uint8_t wide32[5] = {0xff, 0xff, 0xff, 0xff, 0x1f};
    uint8_t wide64[10] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    struct reader reader = reader_over(endless, sizeof(endless));

    reader_uvarint64(&reader);
    cr_assert(reader.failed);
    reader = reader_over(wide32, sizeof(wide32));
    reader_uvarint32(&reader);
    cr_assert(reader.failed);
    reader = reader_over(wide64, sizeof(wide64));
    reader_uvarint64(&reader);
    cr_assert(reader.failed);
}

Test(writer, gives_back_what_was_written, .timeout = 10)
{
    static const int64_t values[] = {
        0, 1, -1, 63, -64, 64, 300, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    uint8_t bytes[512];
    struct writer writer = writer_over(bytes, sizeof(bytes));

    for (size_t i = 0; i < ARRAY_COUNT(values); i++)
        writer_varint64(&writer, values[i]);
    writer_varint32(&writer, INT32_MIN);
    writer_u16_be(&writer, 0x1234);
    writer_u64_le(&writer, 0x0102030405060708u);
    cr_assert(!writer.failed);

    struct reader reader = reader_over(bytes, writer_count(&writer));
    for (size_t i = 0; i < ARRAY_COUNT(values); i++)
        cr_assert_eq(reader_varint64(&reader), values[i]);
    cr_assert_eq(reader_varint32(&reader), INT32_MIN);
    cr_assert_eq(reader_u16_be(&reader), 0x1234);
    cr_assert_eq(reader_u64_le(&reader), 0x0102030405060708u);
    cr_assert_eq(reader_left(&reader), 0u);
    cr_assert(!reader.failed);
}

Test(writer, fails_instead_of_writing_past_its_end, .timeout = 10)
{
    uint8_t bytes[5] = {0, 0, 0, 0, 0xee};
    struct writer writer = writer_over(bytes, 4);

    writer_u64_be(&writer, UINT64_MAX);
    cr_assert(writer.failed);
    cr_assert_eq(bytes[4], 0xee);
    cr_assert_eq(writer_count(&writer), 0u);
}

Test(bytes_copy, stops_the_program_when_capacity_is_too_small, .signal = SIGABRT, .timeout = 10)
{
    uint8_t to[4];

    bytes_copy(to, sizeof(to), "12345", 5);
}

Test(rc, maps_errno_values_that_callers_act_on, .timeout = 10)
{
    cr_assert_eq(rc_from_errno(ENOSPC), RC_NO_SPACE);
    cr_assert_eq(rc_from_errno(EIO), RC_IO_ERROR);
    cr_assert_eq(rc_from_errno(EMFILE), RC_NO_DESCRIPTORS);
    cr_assert_str_eq(rc_name(RC_FENCED), "FENCED");
}
