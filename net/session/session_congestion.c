/* Round trip and congestion window; hotpath 2.5.
 *
 * Credits are the first brake; this window is the second one, against queues in the network. It
 * grows by one packet per window acknowledged while the round trip stays below the least one seen
 * plus delay_target_ns, shrinks in proportion to the excess at most once per round trip, and is
 * halved once per episode of losses. delay_target_ns UINT64_MAX fixes it: on loopback and vhost
 * there is no queue to control. */
#include "net/session/session_inner.h"

#include "engine/base/check.h"

#define PROBE_BACKOFF_MAX 16u /* 1 ms << 16 is far above SESSION_PROBE_MAX_NS */

static bool
path_is_fixed(const struct session *session)
{
    return session->config.delay_target_ns == UINT64_MAX;
}

void
session__path_init(struct session_path *path, const struct session_config *config)
{
    uint32_t first = config->delay_target_ns == UINT64_MAX ? config->window : SESSION_CWND_FIRST;

    *path = (struct session_path){
        .base_ns = UINT64_MAX,
        .base_recent_ns = UINT64_MAX,
        .window = min_u32(first, config->window),
    };
}

/* Least of the last one to two windows of time: an old route is forgotten. */
static void
path_note_base(struct session_path *path, uint64_t sample_ns, uint64_t now_ns)
{
    if (now_ns - path->base_since_ns > SESSION_BASE_WINDOW_NS) {
        path->base_ns = path->base_recent_ns;
        path->base_recent_ns = sample_ns;
        path->base_since_ns = now_ns;
    }
    path->base_recent_ns = min_u64(path->base_recent_ns, sample_ns);
    path->base_ns = min_u64(path->base_ns, path->base_recent_ns);
}

static void
path_shrink(struct session *session, uint64_t sample_ns, uint64_t limit_ns, uint64_t now_ns)
{
    struct session_path *path = &session->path;

    if (now_ns - path->shrunk_ns < path->rtt_ns)
        return;
    uint64_t excess_ns = sample_ns - limit_ns;
    uint32_t cut = (uint32_t)(path->window * excess_ns / sample_ns);
    cut = min_u32(cut, path->window / 2);
    path->window -= cut;
    if (path->window < SESSION_CWND_LEAST)
        path->window = SESSION_CWND_LEAST;
    path->window_acked = 0;
    path->shrunk_ns = now_ns;
}

void
session__path_sample(struct session *session, uint64_t sample_ns, uint64_t now_ns)
{
    struct session_path *path = &session->path;

    sample_ns = max_u64(sample_ns, 1);
    if (path->rtt_ns == 0) {
        path->rtt_ns = sample_ns;
        path->rtt_deviation_ns = sample_ns / 2;
    } else {
        uint64_t off_ns = sample_ns > path->rtt_ns ? sample_ns - path->rtt_ns
                                                   : path->rtt_ns - sample_ns;
        path->rtt_deviation_ns = (3 * path->rtt_deviation_ns + off_ns) / 4;
        path->rtt_ns = (7 * path->rtt_ns + sample_ns) / 8;
    }
    path_note_base(path, sample_ns, now_ns);
    if (path_is_fixed(session))
        return;
    uint64_t limit_ns = path->base_ns + session->config.delay_target_ns;
    if (sample_ns > limit_ns)
        path_shrink(session, sample_ns, limit_ns, now_ns);
}

void
session__path_acked(struct session *session, uint32_t packet_count)
{
    struct session_path *path = &session->path;

    if (path_is_fixed(session))
        return;
    if (path->rtt_ns != 0 && path->rtt_ns > path->base_ns + session->config.delay_target_ns)
        return;
    path->window_acked += packet_count;
    if (path->window_acked < path->window)
        return;
    path->window_acked -= path->window;
    if (path->window < session->config.window)
        path->window++;
}

void
session__path_lost(struct session *session, uint64_t packet_number)
{
    struct session_path *path = &session->path;

    if (path_is_fixed(session) || packet_number < path->recovery_packet)
        return;
    path->recovery_packet = session->send.next_packet;
    path->window /= 2;
    if (path->window < SESSION_CWND_LEAST)
        path->window = SESSION_CWND_LEAST;
    path->window_acked = 0;
}

uint64_t
session__probe_timeout_ns(const struct session *session, uint32_t backoff)
{
    const struct session_path *path = &session->path;
    uint64_t timeout_ns = path->rtt_ns + 4 * path->rtt_deviation_ns + session->config.ack_delay_ns;

    timeout_ns = max_u64(timeout_ns, session->config.probe_floor_ns);
    timeout_ns = min_u64(timeout_ns, SESSION_PROBE_MAX_NS);
    return min_u64(timeout_ns << min_u32(backoff, PROBE_BACKOFF_MAX), SESSION_PROBE_MAX_NS);
}
