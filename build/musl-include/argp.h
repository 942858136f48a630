/* elfutils' lib/color.c and lib/printversion.h include <argp.h>; musl has none.  Those two files are
 * compiled but never linked into us (only libelf.a is), so declarations are enough. */
#include <features.h>
#ifdef __GLIBC__
# include_next <argp.h>
#else
#define _ARGP_H 1
#include <stdio.h>
#include <errno.h>
typedef int error_t;
struct argp_state;
struct argp_option { const char *name; int key; const char *arg; int flags; const char *doc; int group; };
typedef error_t (*argp_parser_t)(int, char *, struct argp_state *);
struct argp { const struct argp_option *options; argp_parser_t parser; const char *args_doc, *doc; const struct argp_child *children; char *(*help_filter)(int, const char *, void *); const char *argp_domain; };
struct argp_state { const struct argp *root_argp; int argc; char **argv; int next; unsigned flags; unsigned arg_num; int quoted; void *input; void **child_inputs; void *hook; char *name; FILE *err_stream, *out_stream; void *pstate; };
#define OPTION_HIDDEN 2
#define OPTION_ARG_OPTIONAL 1
#define ARGP_ERR_UNKNOWN E2BIG
extern void argp_error(const struct argp_state *, const char *, ...);
#define ARGP_HELP_SEE 4
extern void argp_help(const struct argp *, FILE *, unsigned, char *);
extern const char *argp_program_bug_address;
extern void (*argp_program_version_hook)(FILE *, struct argp_state *);
#endif
