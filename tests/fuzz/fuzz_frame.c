/* Any bytes as a frame of a network port (the first one tells which checks are on): a payload lies
 * inside the frame, an answer is not longer than what it answers and goes to who asked, and nobody
 * answers an answer. */
#include "engine/base/check.h"
#include "net/frame/frame.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAME_BYTES_MAX 9216

static struct frame_local host = {
    .mac = {2, 0, 0, 0, 0, 1}, .port_first = 9095, .ip = 0x0a5b0001, .port_count = 2};

static void
answer(enum frame_kind kind, const struct frame_view *view, uint8_t *frame, uint32_t count)
{
    struct frame_local asker = {.port_first = 1, .port_count = 1, .ip = view->source_ip};
    struct frame_view seen;

    uint32_t sent = kind == FRAME_ARP_REQUEST ? frame_arp_reply(&host, frame)
                                              : frame_echo_reply(&host, frame, view);
    CHECK(sent <= count);
    CHECK(memcmp(frame, view->source_mac, FRAME_MAC_BYTES) == 0);
    CHECK(memcmp(frame + FRAME_MAC_BYTES, host.mac, FRAME_MAC_BYTES) == 0);
    memcpy(asker.mac, view->source_mac, FRAME_MAC_BYTES);
    asker.checks = FRAME_CHECK_IPV4;
    enum frame_kind back = frame_classify(&asker, frame, sent, &seen);
    CHECK(back != FRAME_ARP_REQUEST && back != FRAME_ECHO_REQUEST);
    CHECK(kind != FRAME_ARP_REQUEST || back == FRAME_ARP_REPLY);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t frame[FRAME_BYTES_MAX];
    struct frame_view view;

    if (size < 1 || size - 1 > FRAME_BYTES_MAX)
        return 0;
    uint32_t count = (uint32_t)size - 1;
    host.checks = data[0] & (FRAME_CHECK_IPV4 | FRAME_CHECK_UDP);
    enum frame_kind kind = frame_classify(&host, data + 1, count, &view);
    CHECK(kind <= FRAME_MALFORMED);
    if (kind == FRAME_UDP) {
        CHECK(view.payload_offset >= FRAME_HEADERS_BYTES);
        CHECK(view.payload_offset <= count);
        CHECK(view.payload_bytes <= count - view.payload_offset);
        CHECK(view.port == 9095 || view.port == 9096);
        CHECK(view.source_port != 0);
        CHECK(!frame_ip_is_impossible(view.source_ip));
        CHECK((view.source_mac[0] & 1) == 0);
    }
    if (kind == FRAME_ARP_REQUEST || kind == FRAME_ECHO_REQUEST) {
        memcpy(frame, data + 1, count);
        answer(kind, &view, frame, count);
    }
    return 0;
}
