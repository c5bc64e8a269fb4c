/* The other end of the protocol: whole request frames out, response frames in. For tests and load
 * generators, from the same tables as the broker's side. Pure; allocates nothing; never blocks. */
#ifndef EAGRE_NET_KAFKA_KAFKA_CLIENT_CODEC_H
#define EAGRE_NET_KAFKA_KAFKA_CLIENT_CODEC_H

#include "net/kafka/kafka_frame.h"

struct kafka_client_request {
    enum kafka_api_key api_key;
    int16_t version; /* any the tables know, also unserved ones */
    int32_t correlation_id;
    struct bytes client_id; /* at == NULL: null */
};

/* Writes size field, request header and body. message is a struct of the API's request type, such
 * as struct kafka_produce_request. When it does not fit, writer->failed is set. */
void kafka_client_request(struct writer *writer,
                          const struct kafka_client_request *request,
                          const void *message);

/* Reads a response frame.
 *
 * frame    Without the size field.
 * request  What it answers: key, version and correlation id.
 * ret      A struct of the API's response type. ApiVersions answers with error 35 are read in the
 * form of version 0.
 *
 * RC_OK, RC_MALFORMED (also a wrong correlation id), RC_NO_MEMORY. */
MUST_USE enum rc kafka_client_response(struct bytes frame,
                                       const struct kafka_client_request *request,
                                       struct kafka_arena *arena,
                                       void *ret);

#endif
