/* Decompresses and compresses the records of a batch: gzip (zlib), snappy (one raw block, or Java's
 * xerial framing), LZ4 frame, zstd.
 *
 * Runs on control's and compaction's tiles only: the libraries allocate working memory and a large
 * block takes milliseconds. The ways of Produce and Fetch never decompress. Output is bounded by
 * the caller's memory, whatever the input claims. */
#ifndef EAGRE_ENGINE_RECORD_RECORD_CODEC_H
#define EAGRE_ENGINE_RECORD_RECORD_CODEC_H

#include "engine/record/record_batch.h"

/* Decompresses the block `from` (batch bytes [61, batch_bytes)) into [to, to + capacity).
 *
 * codec      RECORD_CODEC_NONE copies.
 * ret_bytes  Bytes written; written only with RC_OK.
 *
 * RC_OK, RC_CORRUPT (malformed, or bytes behind the end), RC_NO_MEMORY (more output than capacity,
 * or the library could not allocate), RC_UNSUPPORTED (codec). Runs on: control tile, tests.
 * Allocates: inside the libraries.  Blocks: never. */
MUST_USE enum rc record_decompress(
    enum record_codec codec, struct bytes from, void *to, size_t capacity, size_t *ret_bytes);

/* The other way, for compaction, which packs again what it has changed: each codec at its library's
 * preset level; snappy as one raw block, which every client takes.
 *
 * RC_OK, RC_NO_MEMORY (does not fit, or the library could not allocate), RC_UNSUPPORTED. Runs on:
 * the compaction tile, tests.  Allocates: inside the libraries.  Blocks: never. */
MUST_USE enum rc record_compress(
    enum record_codec codec, struct bytes from, void *to, size_t capacity, size_t *ret_bytes);

#endif
