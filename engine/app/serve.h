/* eagre serve: from settings to running cores and back. */
#ifndef EAGRE_ENGINE_APP_SERVE_H
#define EAGRE_ENGINE_APP_SERVE_H

#ifndef EAGRE_VERSION
#define EAGRE_VERSION "0.1.0"
#endif

/* argv: argc flags, without the program and the verb. Returns the exit status: 0 after a clean
 * stop, 1 when the server could not start or failed, 2 when a setting is wrong. Runs on: the
 * process's first thread. Blocks: until SIGTERM or SIGINT. */
int serve_main(int argc, char **argv);

#endif
