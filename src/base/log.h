/* Levels and one sink; silent until somebody sets the sink. */
#ifndef FC_BASE_LOG_H
#define FC_BASE_LOG_H

typedef enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG } log_level;
typedef void (*log_fn)(void *user, log_level level, const char *text);

void log_set_sink(log_fn fn, void *user);   /* before any other thread runs; NULL: silent */
void log_print(log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
