#include "tests/hw/flow.h"

#include "engine/base/bytes.h"

#include <stdio.h>

#define STALL_NS (5 * NS_PER_S)

void
flow_fill(uint8_t *bytes, uint32_t byte_count, uint32_t number)
{
    uint8_t head[4];

    put_u32_le(head, number);
    for (uint32_t i = 0; i < byte_count; i++)
        bytes[i] = i < 4 ? head[i] : (uint8_t)(number * 131 + i * 7 + (i >> 8) * 13);
}

bool
flow_matches(const uint8_t *bytes, uint32_t byte_count, uint32_t number)
{
    uint8_t expected[NIC_DATAGRAM_BYTES_MAX];

    flow_fill(expected, byte_count, number);
    return memcmp(bytes, expected, byte_count) == 0;
}

uint32_t
flow_number(const uint8_t *bytes)
{
    return get_u32_le(bytes);
}

static uint32_t
size_largest(const struct flow *flow, uint32_t number)
{
    (void)number;
    return flow->size_max;
}

struct flow
flow_make(struct hw_pair *pair, bool to_far, uint32_t count)
{
    return (struct flow){
        .from = to_far ? pair->near : pair->far,
        .to = to_far ? pair->far : pair->near,
        .peer = to_far ? &pair->far_address : &pair->near_address,
        .source = to_far ? &pair->near_address : &pair->far_address,
        .count = count,
        .window = 32,
        .send_burst = NIC_BURST,
        .receive_burst = NIC_BURST,
        .size_of = size_largest,
        .size_max = min_u32(pair->near->datagram_bytes_max, pair->far->datagram_bytes_max),
    };
}

uint32_t
flow_send(struct flow *flow, uint32_t most)
{
    struct nic_sending sends[NIC_BURST];
    uint32_t wanted = min_u32(min_u32(most, flow->send_burst), flow->count - flow->sent);
    uint32_t count = nic_reserve(flow->from, sends, wanted);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t byte_count = flow->size_of(flow, flow->sent + i);

        if (byte_count > sends[i].capacity) {
            printf("     a buffer of %u bytes for %u\n", sends[i].capacity, byte_count);
            flow->broken = true;
            byte_count = sends[i].capacity;
        }
        flow_fill(sends[i].bytes, byte_count, flow->sent + i);
        sends[i].byte_count = byte_count;
        sends[i].peer = *flow->peer;
    }
    nic_send(flow->from, sends, count);
    flow->sent += count;
    return count;
}

/* The next datagram of the flow, or a reason. */
static bool
flow_expects(struct flow *flow, const struct nic_received *got)
{
    char text[NIC_ADDRESS_TEXT_MAX];
    uint32_t byte_count = flow->size_of(flow, flow->received);

    if (flow->received == flow->sent) {
        printf("     more arrived than the %u that were sent\n", flow->sent);
        return false;
    }
    if (got->byte_count != byte_count) {
        printf("     datagram %u is %u bytes long instead of %u\n",
               flow->received,
               got->byte_count,
               byte_count);
        return false;
    }
    if (!flow_matches(got->bytes, byte_count, flow->received)) {
        printf("     datagram %u (%u bytes) has other bytes\n", flow->received, byte_count);
        return false;
    }
    if (flow->source != NULL && !nic_address_equal(&got->peer, flow->source)) {
        nic_address_text(&got->peer, text, sizeof(text));
        printf("     datagram %u comes from %s\n", flow->received, text);
        return false;
    }
    return true;
}

/* One poll of an end; expected: NULL when nothing may come. */
static uint32_t
end_poll(struct nic *nic, struct flow *expected, uint32_t burst)
{
    struct nic_received got[NIC_BURST];
    uint32_t count = nic_receive(nic, got, burst);

    for (uint32_t i = 0; i < count && expected != NULL && !expected->broken; i++) {
        expected->broken = !flow_expects(expected, &got[i]);
        expected->received++;
        expected->bytes += got[i].byte_count;
    }
    nic_release(nic, got, count);
    return count;
}

static bool
flow_is_done(const struct flow *flow)
{
    return flow == NULL || flow->received == flow->count;
}

static uint32_t
flow_step(struct flow *flow)
{
    uint32_t under_way = flow->sent - flow->received;
    uint32_t moved = 0;

    if (under_way < flow->window && flow->sent < flow->count)
        moved += flow_send(flow, flow->window - under_way);
    (void)nic_flush(flow->from);
    return moved + end_poll(flow->to, flow, flow->receive_burst);
}

bool
flow_run(struct flow *first, struct flow *second)
{
    uint64_t moved_ns = hw_now_ns();

    while (!flow_is_done(first) || !flow_is_done(second)) {
        uint32_t moved = flow_step(first);

        if (second != NULL) {
            moved += flow_step(second);
        } else if (end_poll(first->from, NULL, NIC_BURST) != 0) {
            printf("     something arrived at the sending end\n");
            return false;
        }
        if (first->broken || (second != NULL && second->broken))
            return false;
        if (moved != 0) {
            moved_ns = hw_now_ns();
        } else if (hw_now_ns() - moved_ns > STALL_NS) {
            printf("     %u of %u sent datagrams arrived\n", first->received, first->sent);
            if (second != NULL)
                printf("     %u of %u the other way\n", second->received, second->sent);
            return false;
        }
    }
    return true;
}

uint64_t
flow_drain(struct nic *nic, uint64_t quiet_ns)
{
    uint64_t moved_ns = hw_now_ns();
    uint64_t total = 0;

    do {
        uint32_t count = end_poll(nic, NULL, NIC_BURST);

        total += count;
        if (count != 0)
            moved_ns = hw_now_ns();
    } while (hw_now_ns() - moved_ns < quiet_ns);
    return total;
}

bool
flow_settle(struct nic *nic, struct nic *other)
{
    uint64_t begin_ns = hw_now_ns();

    while (nic_flush(nic)) {
        if (hw_now_ns() - begin_ns > 3 * NS_PER_S)
            return false;
        (void)end_poll(nic, NULL, NIC_BURST);
        if (other != NULL)
            (void)end_poll(other, NULL, NIC_BURST);
    }
    return true;
}
