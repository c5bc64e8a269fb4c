/* Goal: a key goes to the same partition as with Kafka's Java client. Method: its published test
 * vectors of murmur2 (UtilsTest.testMurmur2), cut to a positive number as Utils.toPositive does. */
#include "net/client/client_parts.h"

#include <criterion/criterion.h>

static void
check_vector(const char *key, int32_t hash)
{
    uint32_t positive = (uint32_t)hash & 0x7fffffffu;

    for (uint32_t count = 1; count <= 1000; count += 37)
        cr_assert_eq(client__partition_of_key(EAGRE_PARTITIONER_MURMUR2, key, strlen(key), count),
                     positive % count,
                     "%s over %u",
                     key,
                     count);
}

Test(client__partition_of_key, agrees_with_the_java_client, .timeout = 5)
{
    check_vector("21", -973932308);
    check_vector("foobar", -790332482);
    check_vector("a-little-bit-long-string", -985981536);
    check_vector("a-little-bit-longer-string", -1486304829);
    check_vector("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971);
    check_vector("abc", 479470107);
}

Test(client__partition_of_key, spreads_with_either_hash, .timeout = 5)
{
    for (int partitioner = 0; partitioner < 2; partitioner++) {
        uint32_t counts[16] = {0};
        for (uint32_t i = 0; i < 16000; i++)
            counts[client__partition_of_key(partitioner, &i, sizeof(i), 16)]++;
        for (uint32_t i = 0; i < 16; i++)
            cr_assert(counts[i] > 800 && counts[i] < 1200, "%u has %u", i, counts[i]);
    }
}
