/* All of the compiled form, as one piece for the compiler. */
#include "tiled.c"

#include "backward.c"
