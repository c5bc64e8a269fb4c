/* The data path of the socket body.
 *
 * Receiving: one recvmmsg fills up to 32 buffers. With UDP_GRO a buffer holds a train, datagrams of
 * one sender behind each other, of which every one but the last has the length told by a control
 * message; they are given out where they lie. Buffers are filled again only when all was given out
 * and given back, so nothing is copied.
 *
 * Sending: datagrams wait in a ring of buffer numbers until a flush. The flush walks the ring and
 * makes one message of each run of datagrams that have one peer and one length (the last of a run
 * may be shorter): the kernel or the device cuts it by UDP_SEGMENT. One sendmmsg takes up to 16
 * such messages. Every turn of the flush's loop takes something out of the ring, turns
 * super-packets off, or leaves, so it ends.
 *
 * No error stops a socket: one that says "later" keeps the ring as it is, any other costs the
 * datagrams it was told for, which are counted. */
#include "hw/nic/nic_socket_inner.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "hw/mem/mem.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

static struct nic_socket *
socket_of(struct nic *nic)
{
    return (struct nic_socket *)nic;
}

/* ---- receiving ---- */

/* Reads what the kernel says about a buffer; gives the length of its datagrams. */
static uint32_t
receive_controls(struct nic_socket *socket, const struct mmsghdr *message)
{
    struct msghdr *header = (struct msghdr *)(uintptr_t)&message->msg_hdr;
    uint32_t segment_bytes = message->msg_len;

    for (struct cmsghdr *at = CMSG_FIRSTHDR(header); at != NULL; at = CMSG_NXTHDR(header, at)) {
        if (at->cmsg_level == IPPROTO_UDP && at->cmsg_type == UDP_GRO) {
            int value;

            bytes_copy(&value, sizeof(value), CMSG_DATA(at), sizeof(value));
            if (value > 0)
                segment_bytes = (uint32_t)value;
        } else if (at->cmsg_level == SOL_SOCKET && at->cmsg_type == SO_RXQ_OVFL) {
            uint32_t dropped;

            bytes_copy(&dropped, sizeof(dropped), CMSG_DATA(at), sizeof(dropped));
            nic_count(&socket->nic.counters.receive_missed, dropped - socket->overflow_seen);
            socket->overflow_seen = dropped;
        }
    }
    return segment_bytes;
}

/* Fills the buffers from the kernel; nothing of them may be borrowed. One syscall. */
static void
receive_fill(struct nic_socket *socket)
{
    socket->train_idx = 0;
    socket->train_count = 0;
    for (uint32_t i = 0; i < socket->receive_vector; i++) {
        struct msghdr *header = &socket->receive_messages[i].msg_hdr;

        header->msg_namelen = sizeof(socket->receive_names[i]);
        header->msg_controllen = sizeof(socket->receive_controls[i]);
        header->msg_flags = 0;
    }
    int count = recvmmsg(
        socket->fd, socket->receive_messages, socket->receive_vector, MSG_DONTWAIT, NULL);
    nic_count(&socket->nic.counters.syscalls, 1);
    if (count <= 0)
        return; /* nothing there, or the echo of an ICMP error, which asking took away */

    bool trains = false;
    for (int i = 0; i < count; i++) {
        const struct mmsghdr *message = &socket->receive_messages[i];
        uint32_t segment_bytes = receive_controls(socket, message);

        trains |= segment_bytes < message->msg_len;
        if (message->msg_len == 0) { /* one that was cut is too long all the same: R5 */
            nic_count(&socket->nic.counters.receive_malformed, 1);
            continue;
        }
        socket->trains[socket->train_count++] = (struct socket_train){
            .at = socket->receive_vectors[i].iov_base,
            .left_bytes = message->msg_len,
            .segment_bytes = segment_bytes,
            .peer = nic__address_of(&socket->receive_names[i])};
    }
    /* Trains are long: a few of them are enough for many calls, and stay in the cache meanwhile. */
    socket->receive_vector = trains ? SOCKET_TRAINS_SOME : SOCKET_TRAINS;
}

static uint32_t
socket_receive(struct nic *nic, struct nic_received *received, uint32_t count)
{
    struct nic_socket *socket = socket_of(nic);
    uint32_t taken = 0;
    uint64_t taken_bytes = 0;

    CHECK(count <= NIC_BURST);
    CHECK(socket->borrowed_count == 0); /* nic_release() comes first */
    if (socket->train_idx == socket->train_count)
        receive_fill(socket);
    while (taken < count && socket->train_idx < socket->train_count) {
        struct socket_train *train = &socket->trains[socket->train_idx];
        uint32_t byte_count = min_u32(train->segment_bytes, train->left_bytes);
        const uint8_t *at = train->at;

        train->at += byte_count;
        train->left_bytes -= byte_count;
        if (train->left_bytes == 0)
            socket->train_idx++;
        if (byte_count > nic->datagram_bytes_max) {
            nic_count(&nic->counters.receive_malformed, 1);
            continue;
        }
        received[taken++] = (struct nic_received){
            .bytes = at, .byte_count = byte_count, .peer = train->peer};
        taken_bytes += byte_count;
    }
    nic_count(&nic->counters.received_packets, taken);
    nic_count(&nic->counters.received_bytes, taken_bytes);
    socket->borrowed_count = taken;
    return taken;
}

static void
socket_release(struct nic *nic, struct nic_received *received, uint32_t count)
{
    struct nic_socket *socket = socket_of(nic);

    (void)received;
    CHECK(count <= socket->borrowed_count);
    socket->borrowed_count -= count;
}

/* ---- sending ---- */

static uint32_t
socket_reserve(struct nic *nic, struct nic_sending *sends, uint32_t count)
{
    struct nic_socket *socket = socket_of(nic);
    uint32_t given = min_u32(count, socket->send_free_count);

    CHECK(count <= NIC_BURST);
    CHECK(socket->reserved_count == 0); /* the last reservation is sent or cancelled first */
    for (uint32_t i = 0; i < given; i++) {
        uint16_t send_idx = socket->send_free[--socket->send_free_count];
        struct socket_send *send = &socket->sends[send_idx];

        CHECK(!send->reserved);
        send->reserved = true;
        sends[i] = (struct nic_sending){.bytes = socket->send_bytes +
                                                 (size_t)send_idx * socket->send_stride,
                                        .capacity = nic->datagram_bytes_max,
                                        .owner = send};
    }
    socket->reserved_count = given;
    return given;
}

static struct socket_send *
queue_at(struct nic_socket *socket, uint32_t position)
{
    return &socket->sends[socket->queue[(socket->queue_head + position) % NIC_SEND_QUEUE]];
}

/* Takes count datagrams off the head of the ring; their buffers are free again. */
static void
queue_take(struct nic_socket *socket, uint32_t count)
{
    CHECK(count <= socket->queue_count);
    for (uint32_t i = 0; i < count; i++)
        socket->send_free[socket->send_free_count++] =
            socket->queue[(socket->queue_head + i) % NIC_SEND_QUEUE];
    socket->queue_head = (socket->queue_head + count) % NIC_SEND_QUEUE;
    socket->queue_count -= count;
    socket->waiting_count -= min_u32(count, socket->waiting_count);
    socket->single_count -= min_u32(count, socket->single_count);
}

/* How many datagrams from that position on go out as one super-packet, >= 1. */
static uint32_t
run_length(struct nic_socket *socket, uint32_t begin)
{
    const struct socket_send *first = queue_at(socket, begin);
    uint32_t total_bytes = first->byte_count;
    uint32_t length = 1;

    if (!socket->gso || begin < socket->single_count)
        return 1;
    while (begin + length < socket->queue_count && length < SOCKET_SEGMENTS_MAX) {
        const struct socket_send *next = queue_at(socket, begin + length);

        total_bytes += next->byte_count;
        if (next->byte_count > first->byte_count || total_bytes > SOCKET_SUPER_BYTES_MAX ||
            !nic_address_equal(&next->peer, &first->peer))
            break;
        length++;
        if (next->byte_count < first->byte_count)
            break; /* a shorter one ends the run */
    }
    return length;
}

/* One message of the datagrams [begin, begin + length) of the ring. */
static void
message_make(struct nic_socket *socket, uint32_t message_idx, uint32_t begin, uint32_t length)
{
    struct msghdr *header = &socket->messages[message_idx].msg_hdr;
    const struct socket_send *first = queue_at(socket, begin);

    for (uint32_t i = 0; i < length; i++) {
        const struct socket_send *send = queue_at(socket, begin + i);
        size_t send_idx = (size_t)(send - socket->sends);

        socket->vectors[begin + i] = (struct iovec){.iov_base = socket->send_bytes +
                                                                send_idx * socket->send_stride,
                                                    .iov_len = send->byte_count};
    }
    *header = (struct msghdr){
        .msg_name = &socket->names[message_idx],
        .msg_namelen = nic__name_of(&first->peer, socket->family, &socket->names[message_idx]),
        .msg_iov = &socket->vectors[begin],
        .msg_iovlen = length,
    };
    socket->message_datagrams[message_idx] = length;
    if (length == 1)
        return;
    union socket_segment_control *control = &socket->controls[message_idx];
    uint16_t segment_bytes = (uint16_t)first->byte_count;

    control->align = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(segment_bytes)),
                                      .cmsg_level = IPPROTO_UDP,
                                      .cmsg_type = UDP_SEGMENT};
    bytes_copy(
        CMSG_DATA(&control->align), sizeof(segment_bytes), &segment_bytes, sizeof(segment_bytes));
    header->msg_control = control;
    header->msg_controllen = sizeof(*control);
}

/* Makes messages of the head of the ring; gives their number, [1, SOCKET_MESSAGES]. */
static uint32_t
messages_make(struct nic_socket *socket)
{
    uint32_t begin = 0;
    uint32_t count = 0;

    while (count < SOCKET_MESSAGES && begin < socket->queue_count) {
        uint32_t length = run_length(socket, begin);

        message_make(socket, count++, begin, length);
        begin += length;
    }
    return count;
}

static void
messages_sent(struct nic_socket *socket, uint32_t count)
{
    struct nic_counters *counters = &socket->nic.counters;

    for (uint32_t i = 0; i < count; i++) {
        nic_count(&counters->sent_packets, socket->message_datagrams[i]);
        nic_count(&counters->sent_bytes, socket->messages[i].msg_len);
        queue_take(socket, socket->message_datagrams[i]);
    }
}

/* The kernel refused the first message. True: nothing more can be sent now. */
static COLD bool
message_refused(struct nic_socket *socket, int error)
{
    uint32_t datagrams = socket->message_datagrams[0];

    switch (error) {
    case EINTR:
        return false;
    case EAGAIN:
    case ENOBUFS: /* the device's queue is full */
    case ENOMEM:
        nic_count(&socket->nic.counters.send_queued, socket->queue_count - socket->waiting_count);
        socket->waiting_count = socket->queue_count;
        return true;
    case EIO: /* no checksum offload on the way out: no super-packets from here */
    case EOPNOTSUPP:
        if (datagrams > 1) {
            socket->gso = false;
            return false;
        }
        break;
    case EINVAL: /* a segment is longer than the device's MTU: which one, is seen one by one */
    case EMSGSIZE:
        if (datagrams > 1) {
            socket->single_count = datagrams;
            return false;
        }
        break;
    default:
        break;
    }
    nic_count(&socket->nic.counters.send_errors, datagrams);
    queue_take(socket, datagrams);
    return false;
}

static bool
socket_flush(struct nic *nic)
{
    struct nic_socket *socket = socket_of(nic);

    while (socket->queue_count > 0) {
        uint32_t count = messages_make(socket);
        int sent = sendmmsg(socket->fd, socket->messages, count, MSG_DONTWAIT);

        nic_count(&nic->counters.syscalls, 1);
        if (sent > 0)
            messages_sent(socket, (uint32_t)sent);
        else if (message_refused(socket, errno))
            return true;
    }
    return false;
}

static void
socket_send(struct nic *nic, struct nic_sending *sends, uint32_t count)
{
    struct nic_socket *socket = socket_of(nic);
    bool full = false;

    CHECK(count <= socket->reserved_count);
    for (uint32_t i = 0; i < count; i++) {
        struct socket_send *send = sends[i].owner;
        uint16_t send_idx = (uint16_t)(send - socket->sends);

        CHECK(send->reserved);
        CHECK(sends[i].byte_count >= 1);
        CHECK(sends[i].byte_count <= nic->datagram_bytes_max);
        send->reserved = false;
        /* One try per call: a carrier that is stuck must not cost a syscall per datagram. */
        if (socket->queue_count == NIC_SEND_QUEUE && !full)
            full = socket_flush(nic) && socket->queue_count == NIC_SEND_QUEUE;
        if (socket->queue_count == NIC_SEND_QUEUE) {
            nic_count(&nic->counters.send_dropped, 1);
            socket->send_free[socket->send_free_count++] = send_idx;
            continue;
        }
        send->byte_count = sends[i].byte_count;
        send->peer = sends[i].peer;
        socket->queue[(socket->queue_head + socket->queue_count++) % NIC_SEND_QUEUE] = send_idx;
    }
    socket->reserved_count -= count;
}

static void
socket_cancel(struct nic *nic, struct nic_sending *sends, uint32_t count)
{
    struct nic_socket *socket = socket_of(nic);

    CHECK(count <= socket->reserved_count);
    for (uint32_t i = 0; i < count; i++) {
        struct socket_send *send = sends[i].owner;

        CHECK(send->reserved);
        send->reserved = false;
        socket->send_free[socket->send_free_count++] = (uint16_t)(send - socket->sends);
    }
    socket->reserved_count -= count;
}

static void
socket_close(struct nic *nic)
{
    struct nic_socket *socket = socket_of(nic);

    (void)close(socket->fd);
    mem_boot_free(socket->receive_bytes);
    mem_boot_free(socket->send_bytes);
    mem_boot_free(socket);
}

const struct nic_ops nic__socket_ops = {
    .receive = socket_receive,
    .release = socket_release,
    .reserve = socket_reserve,
    .send = socket_send,
    .cancel = socket_cancel,
    .flush = socket_flush,
    .close = socket_close,
};
