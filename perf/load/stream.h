/* A non-blocking TCP stream of frames with a 32-bit length in front, with room for both directions.
 */
#ifndef EAGRE_PERF_LOAD_STREAM_H
#define EAGRE_PERF_LOAD_STREAM_H

#include "engine/base/bytes.h"

#define STREAM_OUT_BYTES (UINT32_C(16) << 20)
#define STREAM_IN_BYTES (UINT32_C(4) << 20)

struct stream {
    int fd;
    uint8_t *out;
    uint32_t out_at;
    uint32_t out_count;
    uint8_t *in;
    uint32_t in_at; /* frames below were taken */
    uint32_t in_count;
};

/* address: HOST:PORT. False: said on standard error. */
bool stream_open(struct stream *stream, const char *address);
void stream_close(struct stream *stream);
/* Room for so many bytes to be sent, or NULL; stream_add() makes what was written part of it. */
uint8_t *stream_room(struct stream *stream, uint32_t bytes);
void stream_add(struct stream *stream, uint32_t bytes);
bool stream_put(struct stream *stream, const uint8_t *bytes, uint32_t count);
/* False: the connection is gone. */
bool stream_send(struct stream *stream);
bool stream_receive(struct stream *stream);
/* The next whole frame, without its length; borrowed until the next stream_receive(). */
bool stream_frame(struct stream *stream, struct bytes *ret_frame);
short stream_events(const struct stream *stream);

#endif
