// The public header is C++ too: presets give values, and calls link without a wrapper.
#include "eagre/eagre.h"

extern "C" int include_from_cpp(void);

extern "C" int
include_from_cpp(void)
{
    eagre_config config = eagre_config_preset("127.0.0.1");
    eagre_producer_options producer = eagre_producer_preset("orders");
    eagre_subscriber_options subscriber = eagre_subscriber_preset("orders");
    eagre_record record = eagre_record_of("k", 1, "v", 1);
    eagre_client *client = nullptr;

    if (record.partition != EAGRE_PARTITION_ANY || subscriber.partition != EAGRE_PARTITION_ANY)
        return -1;
    if (producer.struct_bytes != sizeof(producer))
        return -1;
    return eagre_open(&config, &client, nullptr, 0); // no port: EAGRE_INVALID
}
