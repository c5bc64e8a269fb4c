/* Reads whole partitions of a simulated server over its protocol, for the verdict at the end.
 *
 * One thread. Allocates, as every double does. */
#ifndef EAGRE_TESTS_SIM_ENGINE_READER_H
#define EAGRE_TESTS_SIM_ENGINE_READER_H

#include "engine_client.h"

/* Asks for the offsets of every topic's partitions, reads them from start to end, judges them, and
 * looks for topics that should not be there. The world's other actors run meanwhile. False: a
 * breach was noted in the model. */
bool engine_reader_judge_all(struct client_world *of);

#endif
