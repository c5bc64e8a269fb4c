/* The wire in memory: every end has an inbox of slots, ordered by the time at which each datagram
 * comes out, and an outbox, which is the software queue of the header's contract.
 *
 * All chance is drawn from the wire's own seeded numbers in the order in which datagrams are put on
 * it, so a run is repeated by its seed and its calls. What the contract forbids callers to do
 * (receiving before releasing, reserving before sending, releasing twice) stops the program: a test
 * double is where such bugs are to be found.
 *
 * An inbox is a binary heap on (due, order): equal times keep the order of sending, so nothing is
 * reordered unless a fault says so. */
#include "hw/nic/nic_memory.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "hw/mem/mem.h"

#include <string.h>

#define SENDS (NIC_SEND_QUEUE + NIC_BURST)
#define STRIDE_ALIGN 64u
#define MTU_MIN 1200u
#define PPM 1000000u

enum slot_state {
    SLOT_FREE,     /* in the free list */
    SLOT_WAITING,  /* in the heap: on the wire */
    SLOT_BORROWED, /* given out by nic_receive() */
};

struct slot {
    uint64_t due_ns;
    uint64_t order;
    struct nic_address from;
    uint32_t byte_count;
    enum slot_state state;
};

enum send_state {
    SEND_FREE,
    SEND_RESERVED, /* given out by nic_reserve() */
    SEND_QUEUED,   /* waits for a flush */
};

struct send {
    struct nic_address to;
    uint32_t byte_count;
    enum send_state state;
};

struct nic_memory {
    struct nic nic;
    struct nic_memory_net *net;
    struct slot *slots;  /* [net->slots] */
    uint8_t *slot_bytes; /* [net->slots][net->stride] */
    uint32_t *slot_free; /* [slot_free_count], newest last */
    uint32_t slot_free_count;
    uint32_t *heap; /* [heap_count] of slots, earliest first */
    uint32_t heap_count;
    uint32_t borrowed_count;
    uint8_t *send_bytes; /* [SENDS][net->stride] */
    struct send sends[SENDS];
    uint16_t send_free[SENDS];
    uint32_t send_free_count;
    uint16_t queue[NIC_SEND_QUEUE]; /* a ring */
    uint32_t queue_head;
    uint32_t queue_count;
    uint32_t reserved_count;
};

struct nic_memory_net {
    struct clock *clock;
    struct clock dice; /* used for its random numbers only */
    struct nic_memory_faults faults;
    uint32_t slots;
    uint32_t stride;
    uint32_t datagram_bytes_max;
    uint64_t next_order;
    uint32_t end_count; /* ever made */
    uint32_t open_count;
    struct nic_memory *ends[NIC_MEMORY_ENDS_MAX]; /* NULL: closed */
};

/* ---- the inbox ---- */

static bool
slot_before(const struct nic_memory *end, uint32_t a, uint32_t b)
{
    const struct slot *x = &end->slots[a];
    const struct slot *y = &end->slots[b];

    return x->due_ns != y->due_ns ? x->due_ns < y->due_ns : x->order < y->order;
}

static void
heap_push(struct nic_memory *end, uint32_t slot_idx)
{
    uint32_t at = end->heap_count++;

    while (at > 0 && slot_before(end, slot_idx, end->heap[(at - 1) / 2])) {
        end->heap[at] = end->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    end->heap[at] = slot_idx;
}

static uint32_t
heap_pop(struct nic_memory *end)
{
    uint32_t first = end->heap[0];
    uint32_t last = end->heap[--end->heap_count];
    uint32_t at = 0;

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= end->heap_count)
            break;
        if (child + 1 < end->heap_count && slot_before(end, end->heap[child + 1], end->heap[child]))
            child++;
        if (!slot_before(end, end->heap[child], last))
            break;
        end->heap[at] = end->heap[child];
        at = child;
    }
    if (end->heap_count > 0)
        end->heap[at] = last;
    return first;
}

/* ---- the wire ---- */

static bool
dice_says(struct nic_memory_net *net, uint32_t ppm)
{
    return ppm != 0 && clock_random_below(&net->dice, PPM) < ppm;
}

/* Damages what lies in a slot so that it differs for certain: a cut end, or one to eight bits, of
 * which the first stays flipped. */
static void
damage(struct nic_memory_net *net, uint8_t *bytes, uint32_t *byte_count)
{
    if (*byte_count > 1 && clock_random_below(&net->dice, 4) == 0) {
        *byte_count = 1 + (uint32_t)clock_random_below(&net->dice, *byte_count - 1);
        return;
    }
    uint64_t bits = (uint64_t)*byte_count * 8;
    uint64_t first = clock_random_below(&net->dice, bits);
    uint64_t more = clock_random_below(&net->dice, 8);

    bytes[first / 8] ^= (uint8_t)BIT(first % 8);
    for (uint64_t i = 0; i < more; i++) {
        uint64_t bit = clock_random_below(&net->dice, bits);

        if (bit != first)
            bytes[bit / 8] ^= (uint8_t)BIT(bit % 8);
    }
}

/* The open end with that address, or NULL: then datagrams to it vanish. */
static struct nic_memory *
net_find(const struct nic_memory_net *net, const struct nic_address *to)
{
    uint32_t number = get_u32_be(to->ip + 12) - ((10u << 24) + 1);

    if (number >= net->end_count || net->ends[number] == NULL)
        return NULL;
    return nic_address_equal(&net->ends[number]->nic.local, to) ? net->ends[number] : NULL;
}

/* One copy of a datagram into the inbox of an end. */
static void
net_deposit(struct nic_memory_net *net,
            struct nic_memory *end,
            const struct nic_address *from,
            struct bytes bytes)
{
    uint64_t due_ns = clock_now_ns(net->clock) + net->faults.delay_ns;

    if (dice_says(net, net->faults.reorder_ppm) && net->faults.reorder_ns > 0)
        due_ns += 1 + clock_random_below(&net->dice, net->faults.reorder_ns);
    if (bytes.count > net->datagram_bytes_max || bytes.count == 0) {
        nic_count(&end->nic.counters.receive_malformed, 1);
        return;
    }
    if (end->slot_free_count == 0) {
        nic_count(&end->nic.counters.receive_missed, 1);
        return;
    }
    uint32_t slot_idx = end->slot_free[--end->slot_free_count];
    struct slot *slot = &end->slots[slot_idx];
    uint8_t *at = end->slot_bytes + (size_t)slot_idx * net->stride;

    CHECK(slot->state == SLOT_FREE);
    *slot = (struct slot){.due_ns = due_ns,
                          .order = net->next_order++,
                          .from = *from,
                          .byte_count = (uint32_t)bytes.count,
                          .state = SLOT_WAITING};
    bytes_copy(at, net->stride, bytes.at, bytes.count);
    if (dice_says(net, net->faults.corrupt_ppm))
        damage(net, at, &slot->byte_count);
    heap_push(end, slot_idx);
}

static void
net_carry(struct nic_memory_net *net,
          const struct nic_address *from,
          const struct nic_address *to,
          struct bytes bytes)
{
    struct nic_memory *end = net_find(net, to);

    if (net->faults.datagram_bytes_max != 0 && bytes.count > net->faults.datagram_bytes_max)
        return;
    if (dice_says(net, net->faults.loss_ppm) || end == NULL)
        return;
    uint32_t copies = dice_says(net, net->faults.duplicate_ppm) ? 2 : 1;
    for (uint32_t i = 0; i < copies; i++)
        net_deposit(net, end, from, bytes);
}

/* ---- the operations ---- */

static struct nic_memory *
memory_of(struct nic *nic)
{
    return (struct nic_memory *)nic;
}

static uint32_t
memory_receive(struct nic *nic, struct nic_received *received, uint32_t count)
{
    struct nic_memory *end = memory_of(nic);
    uint64_t now_ns = clock_now_ns(end->net->clock);
    uint32_t taken = 0;

    CHECK(count <= NIC_BURST);
    CHECK(end->borrowed_count == 0); /* nic_release() comes first */
    while (taken < count && end->heap_count > 0 && end->slots[end->heap[0]].due_ns <= now_ns) {
        uint32_t slot_idx = heap_pop(end);
        struct slot *slot = &end->slots[slot_idx];

        slot->state = SLOT_BORROWED;
        received[taken++] = (struct nic_received){.bytes = end->slot_bytes +
                                                           (size_t)slot_idx * end->net->stride,
                                                  .byte_count = slot->byte_count,
                                                  .peer = slot->from,
                                                  .owner = slot};
        nic_count(&nic->counters.received_packets, 1);
        nic_count(&nic->counters.received_bytes, slot->byte_count);
    }
    end->borrowed_count = taken;
    return taken;
}

static void
memory_release(struct nic *nic, struct nic_received *received, uint32_t count)
{
    struct nic_memory *end = memory_of(nic);

    CHECK(count <= end->borrowed_count);
    for (uint32_t i = 0; i < count; i++) {
        struct slot *slot = received[i].owner;

        CHECK(slot->state == SLOT_BORROWED);
        slot->state = SLOT_FREE;
        end->slot_free[end->slot_free_count++] = (uint32_t)(slot - end->slots);
    }
    end->borrowed_count -= count;
}

static uint32_t
memory_reserve(struct nic *nic, struct nic_sending *sends, uint32_t count)
{
    struct nic_memory *end = memory_of(nic);
    uint32_t given = min_u32(count, end->send_free_count);

    CHECK(count <= NIC_BURST);
    CHECK(end->reserved_count == 0); /* the last reservation is sent or cancelled first */
    for (uint32_t i = 0; i < given; i++) {
        uint16_t send_idx = end->send_free[--end->send_free_count];
        struct send *send = &end->sends[send_idx];

        CHECK(send->state == SEND_FREE);
        send->state = SEND_RESERVED;
        sends[i] = (struct nic_sending){.bytes = end->send_bytes +
                                                 (size_t)send_idx * end->net->stride,
                                        .capacity = nic->datagram_bytes_max,
                                        .owner = send};
    }
    end->reserved_count = given;
    return given;
}

static void
send_give_back(struct nic_memory *end, struct send *send)
{
    send->state = SEND_FREE;
    end->send_free[end->send_free_count++] = (uint16_t)(send - end->sends);
}

static bool
memory_flush(struct nic *nic)
{
    struct nic_memory *end = memory_of(nic);

    for (; end->queue_count > 0; end->queue_count--) {
        struct send *send = &end->sends[end->queue[end->queue_head]];
        struct bytes bytes = {.at = end->send_bytes +
                                    (size_t)(send - end->sends) * end->net->stride,
                              .count = send->byte_count};

        CHECK(send->state == SEND_QUEUED);
        end->queue_head = (end->queue_head + 1) % NIC_SEND_QUEUE;
        nic_count(&nic->counters.sent_packets, 1);
        nic_count(&nic->counters.sent_bytes, send->byte_count);
        net_carry(end->net, &nic->local, &send->to, bytes);
        send_give_back(end, send);
    }
    return false;
}

static void
memory_send(struct nic *nic, struct nic_sending *sends, uint32_t count)
{
    struct nic_memory *end = memory_of(nic);

    CHECK(count <= end->reserved_count);
    for (uint32_t i = 0; i < count; i++) {
        struct send *send = sends[i].owner;

        CHECK(send->state == SEND_RESERVED);
        CHECK(sends[i].byte_count >= 1);
        CHECK(sends[i].byte_count <= nic->datagram_bytes_max);
        if (end->queue_count == NIC_SEND_QUEUE)
            (void)memory_flush(nic);
        send->state = SEND_QUEUED;
        send->byte_count = sends[i].byte_count;
        send->to = sends[i].peer;
        end->queue[(end->queue_head + end->queue_count++) % NIC_SEND_QUEUE] =
            (uint16_t)(send - end->sends);
    }
    end->reserved_count -= count;
}

static void
memory_cancel(struct nic *nic, struct nic_sending *sends, uint32_t count)
{
    struct nic_memory *end = memory_of(nic);

    CHECK(count <= end->reserved_count);
    for (uint32_t i = 0; i < count; i++) {
        struct send *send = sends[i].owner;

        CHECK(send->state == SEND_RESERVED);
        send_give_back(end, send);
    }
    end->reserved_count -= count;
}

static void
end_free(struct nic_memory *end)
{
    if (end == NULL)
        return;
    mem_boot_free(end->slots);
    mem_boot_free(end->slot_bytes);
    mem_boot_free(end->slot_free);
    mem_boot_free(end->heap);
    mem_boot_free(end->send_bytes);
    mem_boot_free(end);
}

static void
memory_close(struct nic *nic)
{
    struct nic_memory *end = memory_of(nic);
    struct nic_memory_net *net = end->net;

    for (uint32_t i = 0; i < net->end_count; i++) {
        if (net->ends[i] == end)
            net->ends[i] = NULL;
    }
    end_free(end);
    if (--net->open_count == 0)
        mem_boot_free(net);
}

static const struct nic_ops memory_ops = {
    .receive = memory_receive,
    .release = memory_release,
    .reserve = memory_reserve,
    .send = memory_send,
    .cancel = memory_cancel,
    .flush = memory_flush,
    .close = memory_close,
};

/* ---- opening ---- */

/* 10.0.0.1 and on; the first end is the server. */
static struct nic_address
end_address(uint32_t end_idx)
{
    struct nic_address address = {.ip = {[10] = 0xff, [11] = 0xff},
                                  .port = end_idx == 0 ? 9095 : 40000};

    put_u32_be(address.ip + 12, (10u << 24) + 1 + end_idx);
    return address;
}

static struct nic_memory *
end_make(struct nic_memory_net *net)
{
    struct nic_memory *end = mem_boot_alloc(sizeof(*end));

    if (end == NULL)
        return NULL;
    end->slots = mem_boot_alloc(net->slots * sizeof(*end->slots));
    end->slot_bytes = mem_boot_alloc((size_t)net->slots * net->stride);
    end->slot_free = mem_boot_alloc(net->slots * sizeof(*end->slot_free));
    end->heap = mem_boot_alloc(net->slots * sizeof(*end->heap));
    end->send_bytes = mem_boot_alloc((size_t)SENDS * net->stride);
    if (end->slots == NULL || end->slot_bytes == NULL || end->slot_free == NULL ||
        end->heap == NULL || end->send_bytes == NULL) {
        end_free(end);
        return NULL;
    }
    /* The lowest is given out first, and again as soon as it is back: little memory is touched. */
    for (uint32_t i = 0; i < net->slots; i++)
        end->slot_free[end->slot_free_count++] = net->slots - 1 - i;
    for (uint32_t i = 0; i < SENDS; i++)
        end->send_free[end->send_free_count++] = (uint16_t)(SENDS - 1 - i);
    end->net = net;
    end->nic.ops = &memory_ops;
    end->nic.body_name = "memory";
    end->nic.datagram_bytes_max = net->datagram_bytes_max;
    end->nic.wait_fd = -1;
    end->nic.local = end_address(net->end_count);
    end->nic.port = end->nic.local.port;
    return end;
}

enum rc
nic_memory_add(struct nic_memory_net *net, struct nic **ret_end)
{
    if (net->end_count == NIC_MEMORY_ENDS_MAX)
        return RC_LIMIT;
    struct nic_memory *end = end_make(net);
    if (end == NULL)
        return RC_NO_MEMORY;
    net->ends[net->end_count++] = end;
    net->open_count++;
    *ret_end = &end->nic;
    return RC_OK;
}

enum rc
nic_memory_open(const struct nic_memory_config *config,
                struct nic *ret_ends[2],
                struct nic_memory_net **ret_net)
{
    uint32_t bytes_max = config->datagram_bytes_max != 0 ? config->datagram_bytes_max
                                                         : NIC_DATAGRAM_BYTES;
    struct nic *ends[2];

    if (bytes_max < MTU_MIN || bytes_max > NIC_DATAGRAM_BYTES_MAX || config->slots == 0 ||
        config->slots > NIC_MEMORY_SLOTS_MAX)
        return RC_INVALID;
    struct nic_memory_net *net = mem_boot_alloc(sizeof(*net));
    if (net == NULL)
        return RC_NO_MEMORY;
    net->clock = config->clock;
    clock_init_sim(&net->dice, config->seed, 0);
    net->faults = config->faults;
    net->slots = config->slots;
    net->datagram_bytes_max = bytes_max;
    net->stride = (uint32_t)round_up(bytes_max, STRIDE_ALIGN);

    enum rc rc = nic_memory_add(net, &ends[0]);
    if (rc != RC_OK)
        goto fail_net;
    rc = nic_memory_add(net, &ends[1]);
    if (rc != RC_OK)
        goto fail_end;
    ret_ends[0] = ends[0];
    ret_ends[1] = ends[1];
    *ret_net = net;
    return RC_OK;

fail_end:
    nic_close(ends[0]); /* and the net with it */
    return rc;
fail_net:
    mem_boot_free(net);
    return rc;
}

/* ---- the world's hand on the wire ---- */

void
nic_memory_inject(struct nic_memory_net *net,
                  const struct nic_address *from,
                  const struct nic_address *to,
                  const void *bytes,
                  uint32_t byte_count)
{
    net_carry(net, from, to, (struct bytes){.at = bytes, .count = byte_count});
}

void
nic_memory_set_faults(struct nic_memory_net *net, const struct nic_memory_faults *faults)
{
    net->faults = *faults;
}

uint64_t
nic_memory_due_ns(const struct nic_memory_net *net)
{
    uint64_t due_ns = UINT64_MAX;

    for (uint32_t i = 0; i < net->end_count; i++) {
        const struct nic_memory *end = net->ends[i];

        if (end != NULL && end->heap_count > 0)
            due_ns = min_u64(due_ns, end->slots[end->heap[0]].due_ns);
    }
    return due_ns;
}

uint32_t
nic_memory_in_use(const struct nic_memory_net *net)
{
    uint32_t in_use = 0;

    for (uint32_t i = 0; i < net->end_count; i++) {
        const struct nic_memory *end = net->ends[i];

        if (end != NULL)
            in_use += end->heap_count + end->borrowed_count + end->queue_count +
                      end->reserved_count;
    }
    return in_use;
}
