#include "engine/record/record_codec.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

/* Java's snappy writer: magic, version and lowest compatible version, then blocks of int32 length +
 * raw snappy. */
static const uint8_t xerial_magic[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
#define XERIAL_HEADER_BYTES 16u

static enum rc
decompress_none(struct bytes from, struct writer *to)
{
    writer_bytes(to, from.at, from.count);
    return to->failed ? RC_NO_MEMORY : RC_OK;
}

static enum rc
decompress_gzip(struct bytes from, struct writer *to)
{
    /* 15: the largest window; 16 added: gzip wrapper only. */
    z_stream stream = {0};
    if (inflateInit2(&stream, 15 + 16) != Z_OK)
        return RC_NO_MEMORY;

    stream.next_in = (Bytef *)(uintptr_t)from.at; /* zlib does not write there */
    stream.avail_in = (uInt)from.count;
    stream.next_out = to->at;
    stream.avail_out = (uInt)(to->end - to->at);
    int result = inflate(&stream, Z_FINISH);
    enum rc rc = RC_CORRUPT;
    if (result == Z_STREAM_END && stream.avail_in == 0) {
        to->at = stream.next_out;
        rc = RC_OK;
    } else if (result == Z_MEM_ERROR ||
               ((result == Z_OK || result == Z_BUF_ERROR) && stream.avail_out == 0)) {
        rc = RC_NO_MEMORY;
    }
    inflateEnd(&stream);
    return rc;
}

static enum rc
decompress_snappy_block(struct bytes from, struct writer *to)
{
    const char *input = (const char *)from.at;
    size_t bytes = 0;

    if (snappy_uncompressed_length(input, from.count, &bytes) != SNAPPY_OK)
        return RC_CORRUPT;
    if (bytes > (size_t)(to->end - to->at))
        /* The length is only a claim: say corrupt unless the block is sound, and a sound one never
         * claims more than 64 times its own bytes. */
        return bytes / 64 > from.count ? RC_CORRUPT : RC_NO_MEMORY;
    if (snappy_uncompress(input, from.count, (char *)to->at, &bytes) != SNAPPY_OK)
        return RC_CORRUPT;
    to->at += bytes;
    return RC_OK;
}

static enum rc
decompress_snappy(struct bytes from, struct writer *to)
{
    if (from.count < XERIAL_HEADER_BYTES ||
        memcmp(from.at, xerial_magic, sizeof(xerial_magic)) != 0)
        return decompress_snappy_block(from, to);

    struct reader reader = reader_over(from.at + XERIAL_HEADER_BYTES,
                                       from.count - XERIAL_HEADER_BYTES);
    while (reader_left(&reader) > 0) {
        uint32_t count = reader_u32_be(&reader);
        const uint8_t *block = reader_take(&reader, count);
        if (block == NULL)
            return RC_CORRUPT;
        enum rc rc = decompress_snappy_block((struct bytes){.at = block, .count = count}, to);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static enum rc
decompress_lz4(struct bytes from, struct writer *to)
{
    LZ4F_dctx *context = NULL;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)))
        return RC_NO_MEMORY;

    struct reader reader = reader_over(from.at, from.count);
    enum rc rc = RC_CORRUPT;
    size_t hint = 1; /* 0: the frame is complete */
    while (hint != 0) {
        size_t taken = reader_left(&reader);
        size_t room = (size_t)(to->end - to->at);
        size_t given = room;
        hint = LZ4F_decompress(context, to->at, &given, reader.at, &taken, NULL);
        if (LZ4F_isError(hint))
            break;
        reader.at += taken;
        to->at += given;
        if (hint != 0 && taken == 0 && given == 0) {
            rc = room == 0 && reader_left(&reader) > 0 ? RC_NO_MEMORY : RC_CORRUPT;
            break;
        }
    }
    if (hint == 0)
        rc = reader_left(&reader) == 0 ? RC_OK : RC_CORRUPT;
    LZ4F_freeDecompressionContext(context);
    return rc;
}

static enum rc
decompress_zstd(struct bytes from, struct writer *to)
{
    size_t bytes = ZSTD_decompress(to->at, (size_t)(to->end - to->at), from.at, from.count);

    if (!ZSTD_isError(bytes)) {
        to->at += bytes;
        return RC_OK;
    }
    ZSTD_ErrorCode error = ZSTD_getErrorCode(bytes);
    bool room = error == ZSTD_error_dstSize_tooSmall || error == ZSTD_error_memory_allocation;
    return room ? RC_NO_MEMORY : RC_CORRUPT;
}

enum rc
record_decompress(
    enum record_codec codec, struct bytes from, void *to, size_t capacity, size_t *ret_bytes)
{
    struct writer writer = writer_over(to, min_u64(capacity, UINT32_MAX));
    enum rc rc = RC_UNSUPPORTED;

    if (from.count > RECORD_BATCH_BYTES_MAX)
        return RC_CORRUPT;
    if (from.count == 0 && codec != RECORD_CODEC_NONE)
        return RC_CORRUPT; /* zstd alone would take nothing for an empty frame */
    if (codec == RECORD_CODEC_NONE)
        rc = decompress_none(from, &writer);
    else if (codec == RECORD_CODEC_GZIP)
        rc = decompress_gzip(from, &writer);
    else if (codec == RECORD_CODEC_SNAPPY)
        rc = decompress_snappy(from, &writer);
    else if (codec == RECORD_CODEC_LZ4)
        rc = decompress_lz4(from, &writer);
    else if (codec == RECORD_CODEC_ZSTD)
        rc = decompress_zstd(from, &writer);
    if (rc == RC_OK)
        *ret_bytes = writer_count(&writer);
    return rc;
}

static enum rc
compress_gzip(struct bytes from, uint8_t *to, size_t capacity, size_t *ret_bytes)
{
    z_stream stream = {0};

    /* 15 + 16 as above; 8 is the library's preset for memory. */
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) !=
        Z_OK)
        return RC_NO_MEMORY;
    stream.next_in = (Bytef *)(uintptr_t)from.at; /* zlib does not write there */
    stream.avail_in = (uInt)from.count;
    stream.next_out = to;
    stream.avail_out = (uInt)capacity;
    bool done = deflate(&stream, Z_FINISH) == Z_STREAM_END;
    *ret_bytes = capacity - stream.avail_out;
    deflateEnd(&stream);
    return done ? RC_OK : RC_NO_MEMORY;
}

static enum rc
compress_snappy(struct bytes from, uint8_t *to, size_t capacity, size_t *ret_bytes)
{
    size_t bytes = capacity;

    if (snappy_max_compressed_length(from.count) > capacity ||
        snappy_compress((const char *)from.at, from.count, (char *)to, &bytes) != SNAPPY_OK)
        return RC_NO_MEMORY;
    *ret_bytes = bytes;
    return RC_OK;
}

enum rc
record_compress(
    enum record_codec codec, struct bytes from, void *to, size_t capacity, size_t *ret_bytes)
{
    size_t bytes;

    switch (codec) {
    case RECORD_CODEC_NONE:
        if (from.count > capacity)
            return RC_NO_MEMORY;
        bytes_copy(to, capacity, from.at, from.count);
        *ret_bytes = from.count;
        return RC_OK;
    case RECORD_CODEC_GZIP:
        return compress_gzip(from, to, min_u64(capacity, UINT32_MAX), ret_bytes);
    case RECORD_CODEC_SNAPPY:
        return compress_snappy(from, to, capacity, ret_bytes);
    case RECORD_CODEC_LZ4:
        bytes = LZ4F_compressFrame(to, capacity, from.at, from.count, NULL);
        if (LZ4F_isError(bytes))
            return RC_NO_MEMORY;
        *ret_bytes = bytes;
        return RC_OK;
    case RECORD_CODEC_ZSTD:
        bytes = ZSTD_compress(to, capacity, from.at, from.count, ZSTD_CLEVEL_DEFAULT);
        if (ZSTD_isError(bytes))
            return RC_NO_MEMORY;
        *ret_bytes = bytes;
        return RC_OK;
    default:
        return RC_UNSUPPORTED;
    }
}
