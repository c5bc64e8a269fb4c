/* A non-blocking stream to the server, clear or by OpenSSL, and addresses as the kernel wants them.
 * Every stream function takes stream NULL as clear text on fd. */
#ifndef EAGRE_NET_CLIENT_TLS_H
#define EAGRE_NET_CLIENT_TLS_H

#include "eagre/eagre.h"
#include "hw/nic/nic.h"

#include <openssl/ssl.h>
#include <sys/socket.h>

/* EAGRE_OK, _DENIED (authorities cannot be read), _NO_MEMORY. Allocates: yes. */
int client__tls_context(const struct eagre_config *config,
                        SSL_CTX **ret_context,
                        char *why,
                        size_t why_capacity);
/* server_name: what the certificate must name; "": is not checked. NULL: no memory. Allocates: yes.
 */
SSL *client__tls_stream(SSL_CTX *context, int fd, const char *server_name);
/* > 0 done, 0 goes on when readable (or writable: *ret_wants_write), < 0 failed: why. */
int client__tls_handshake(SSL *stream, bool *ret_wants_write, char *why, uint32_t why_capacity);
/* Bytes moved; 0: not now; < 0: the connection is over. */
long client__tls_write(SSL *stream, int fd, const void *from, size_t count);
long client__tls_read(SSL *stream, int fd, void *to, size_t room);

socklen_t client__tls_sockaddr(const struct nic_address *address, struct sockaddr_storage *ret);

#endif
