"""Values in generated code: their types, how lanes hold them, arithmetic, the function being generated."""
