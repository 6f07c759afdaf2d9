/* Rows of the tables, which src/loom/export/library/machinetables.py writes. */

typedef struct { u8 op; uint16_t a, b; double value; } Told;
typedef struct { u8 op, kind, inputs, rank; u8 in[3]; uint16_t shape[MOST_RANK]; u32 number; int16_t told; } Node;
typedef struct { u32 first; uint16_t forward, count; int16_t ends[2 + MOST_OWN], powers[2]; } Template;

enum { RULE_WHOLE, RULE_REAL, RULE_FLAG, RULE_CHOICE, RULE_ELEMENT, RULE_TEXT, RULE_FREE, RULE_SIZES, RULE_TEXTS, RULE_LEFT, RULE_LAYERS };
#define NOT_GIVEN (-1e300)
typedef struct {
  const char *name;
  u8 rule, is_required;
  int64_t low;
  u64 high;
  u8 limits; /* 1: at least `least`; 2: above it; 4: at most `most`; 8: below it */
  double least, most;
  uint16_t first_name;
  u8 names;
  double fallback;
  const char *expected, *each, *missing;
} Field;

enum { OPTION_FLAG, OPTION_NAMES, OPTION_SPECIAL };
typedef struct { u8 field, how; uint16_t first; u8 count; } Option;
typedef struct { u8 field; int8_t axis; const char *what; } Check; /* axis: from the last one if below 0 */

enum { START_FILL, START_SPREAD, START_NORMAL };
typedef struct { const char *name; u8 rank; uint16_t shape[4]; u8 start; uint16_t reach; const char *too_large; } Own;
typedef struct {
  const char *problem, *problem_key, *problem_expected;
  u8 is_of_fields, rank;
  uint16_t shape[MOST_AXES];
  u32 first_own;
  u8 weights, states, meaning[4];
  int16_t width[4], training, inference; /* templates */
} Variant;
enum { HOLDS_NOTHING, HOLDS_CHAIN, HOLDS_ADDED };
typedef struct {
  const char *name;
  uint16_t first_field;
  u8 fields;
  uint16_t first_option;
  u8 options;
  uint16_t first_check;
  u8 checks;
  u32 first_variant;
  u8 least_axes, frozen, takes_statistics, holds;
  int8_t rate; /* the field that is the rate of its weights, or -1 */
} Kind;

typedef struct { u8 loss, probabilities, classes, axes; int16_t form; } LossForm;
typedef struct { const char *name; double value; } Setting;
typedef struct { const char *name; uint16_t first_setting; u8 settings; uint16_t first_option; u8 options; uint16_t first_update; } Optimizer;
