/* A scripted client's bytes; see engine_stream.h. */
#include "engine_stream.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"

#include <stdlib.h>
#include <string.h>

#define STREAM_RETRY_NS (50 * NS_PER_US) /* between attempts to send into a full buffer */

void
stream_init(struct stream *stream, struct sim_world *world)
{
    *stream = (struct stream){
        .world = world,
        .out = malloc(STREAM_OUT_BYTES),
        .in = malloc(STREAM_IN_BYTES),
        .arena = malloc(STREAM_ARENA_BYTES),
    };
    CHECK(stream->out != NULL && stream->in != NULL && stream->arena != NULL);
}

void
stream_fini(struct stream *stream)
{
    stream_shut(stream, false);
    free(stream->out);
    free(stream->in);
    free(stream->arena);
}

bool
stream_open(struct stream *stream, uint16_t port)
{
    CHECK(!stream->is_open);
    if (tcp_sim_connect(stream->world->tcp, port, &stream->client) != RC_OK)
        return false;
    stream->is_open = true;
    stream->pending_count = 0;
    stream->out_begin = 0;
    stream->out_end = 0;
    stream->in_count = 0;
    stream->retry_ns = SIM_NEVER_NS;
    return true;
}

void
stream_shut(struct stream *stream, bool reset)
{
    if (!stream->is_open)
        return;
    if (reset)
        tcp_sim_client_reset(stream->world->tcp, stream->client);
    tcp_sim_client_release(stream->world->tcp, stream->client);
    stream->is_open = false;
    stream->pending_count = 0;
}

bool
stream_has_room(const struct stream *stream, uint32_t bytes)
{
    return stream->is_open && stream->pending_count < STREAM_PENDING_MAX &&
           STREAM_OUT_BYTES - (stream->out_end - stream->out_begin) > bytes + 1024;
}

void
stream_ask(struct stream *stream,
           const struct kafka_client_request *request,
           const void *message,
           uint64_t number,
           bool has_answer)
{
    CHECK(stream->is_open);
    CHECK(stream->pending_count < STREAM_PENDING_MAX);
    if (stream->out_begin > 0) {
        memmove(stream->out, stream->out + stream->out_begin, stream->out_end - stream->out_begin);
        stream->out_end -= stream->out_begin;
        stream->out_begin = 0;
    }
    struct stream_pending pending = {
        .request = *request, .number = number, .sent_ns = sim_world_now_ns(stream->world)};
    pending.request.correlation_id = stream->correlation_next++;
    struct writer writer = writer_over(stream->out + stream->out_end,
                                       STREAM_OUT_BYTES - stream->out_end);
    kafka_client_request(&writer, &pending.request, message);
    CHECK(!writer.failed);
    stream->out_end += (uint32_t)writer_count(&writer);
    stream->retry_ns = 0; /* not tried yet */
    if (has_answer)
        stream->pending[stream->pending_count++] = pending;
}

static void
stream_send(struct stream *stream)
{
    uint32_t count = stream->out_end - stream->out_begin;
    stream->retry_ns = SIM_NEVER_NS;
    if (count == 0)
        return;
    uint32_t taken = tcp_sim_client_send(
        stream->world->tcp, stream->client, stream->out + stream->out_begin, count);
    stream->out_begin += taken;
    if (taken < count)
        stream->retry_ns = sim_world_now_ns(stream->world) + STREAM_RETRY_NS;
}

/* False: the connection is no more. */
static bool
stream_receive(struct stream *stream)
{
    for (;;) {
        uint8_t *at = stream->in + stream->in_count;
        uint32_t room = STREAM_IN_BYTES - stream->in_count;
        CHECK(room > 0);
        int32_t count = tcp_sim_client_receive(stream->world->tcp, stream->client, at, room);
        if (count == TCP_SIM_NOTHING_YET)
            return true;
        if (count < 0)
            return false;
        sim_trace_add(&stream->world->trace,
                      "client_bytes",
                      stream->client,
                      (uint64_t)count,
                      hash_xxh3(at, (size_t)count, 0));
        stream->in_count += (uint32_t)count;
    }
}

enum stream_event
stream_poll(struct stream *stream, struct stream_answer *ret_answer)
{
    if (!stream->is_open)
        return STREAM_NOTHING;
    stream_send(stream);
    bool alive = stream_receive(stream);
    uint32_t bytes = stream->in_count < 4 ? 0 : 4 + get_u32_be(stream->in);
    if (bytes != 0 && (bytes > STREAM_IN_BYTES || stream->pending_count == 0))
        return STREAM_WRONG;
    if (bytes == 0 || stream->in_count < bytes) {
        if (alive)
            return STREAM_NOTHING;
        stream_shut(stream, false);
        return STREAM_LOST;
    }
    struct kafka_arena arena = kafka_arena_over(stream->arena, STREAM_ARENA_BYTES);
    struct bytes frame = {stream->in + 4, bytes - 4};
    ret_answer->to = stream->pending[0];
    ret_answer->bytes = bytes;
    if (kafka_client_response(frame, &ret_answer->to.request, &arena, &ret_answer->u) != RC_OK)
        return STREAM_WRONG;
    stream->pending_count--;
    memmove(stream->pending,
            stream->pending + 1,
            stream->pending_count * sizeof(struct stream_pending));
    return STREAM_ANSWER;
}

void
stream_done(struct stream *stream, const struct stream_answer *answer)
{
    if (!stream->is_open)
        return;
    CHECK(answer->bytes <= stream->in_count);
    stream->in_count -= answer->bytes;
    memmove(stream->in, stream->in + answer->bytes, stream->in_count);
}

uint64_t
stream_due_ns(const struct stream *stream)
{
    if (!stream->is_open)
        return SIM_NEVER_NS;
    uint64_t now_ns = sim_world_now_ns(stream->world);
    if (stream->in_count >= 4 && stream->in_count >= 4 + get_u32_be(stream->in))
        return now_ns;
    uint64_t due_ns = tcp_sim_client_due_ns(stream->world->tcp, stream->client);
    return min_u64(due_ns, stream->retry_ns);
}
