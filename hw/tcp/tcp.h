/* TCP listener and stream set-up; the streams' bytes move through hw/io (IO_ACCEPT, IO_RECV,
 * IO_SENDV) on the descriptors given here. Bodies: real (kernel sockets) and sim (in-memory streams
 * of the sim io body). None of the calls block. Runs on: the core that owns the descriptors. */
#ifndef EAGRE_HW_TCP_TCP_H
#define EAGRE_HW_TCP_TCP_H

#include "engine/base/base.h"
#include "engine/base/diag.h"
#include "engine/base/rc.h"

#define TCP_ADDRESS_BYTES 16u /* IPv6; IPv4 as ::ffff:a.b.c.d */

struct tcp;
struct tcp_ops {
    enum rc (*listen)(struct tcp *tcp,
                      const char *host,
                      uint16_t port,
                      int *ret_fd,
                      uint16_t *ret_port,
                      struct diag_trail *trail);
    void (*shutdown)(struct tcp *tcp, int fd);
    void (*close)(struct tcp *tcp, int fd);
    void (*peer)(struct tcp *tcp, int fd, char *text, size_t capacity);
    void (*peer_address)(struct tcp *tcp, int fd, uint8_t ret[TCP_ADDRESS_BYTES]);
};
struct tcp {
    const struct tcp_ops *ops;
};

/* The real body; static storage. */
struct tcp *tcp_real(void);

/* Listens on host:port (name or literal address; port 0 takes a free one); SO_REUSEADDR, backlog
 * 1024. *ret_port is the port taken. */
static inline enum rc
tcp_listen(struct tcp *tcp,
           const char *host,
           uint16_t port,
           int *ret_fd,
           uint16_t *ret_port,
           struct diag_trail *trail)
{
    return tcp->ops->listen(tcp, host, port, ret_fd, ret_port, trail);
}
/* Ends both directions: requests under way on fd complete soon (end of stream or an error). fd
 * stays open. On a listener it makes a pending IO_ACCEPT complete with an error. */
static inline void
tcp_shutdown(struct tcp *tcp, int fd)
{
    tcp->ops->shutdown(tcp, fd);
}
/* Gives fd back; no request may be under way on it. */
static inline void
tcp_close(struct tcp *tcp, int fd)
{
    tcp->ops->close(tcp, fd);
}
/* Writes the peer's "address:port", or "?". */
static inline void
tcp_peer(struct tcp *tcp, int fd, char *text, size_t capacity)
{
    tcp->ops->peer(tcp, fd, text, capacity);
}
/* The peer's address in network order, without the port; all zero when it is not known. */
static inline void
tcp_peer_address(struct tcp *tcp, int fd, uint8_t ret[TCP_ADDRESS_BYTES])
{
    tcp->ops->peer_address(tcp, fd, ret);
}

#endif
