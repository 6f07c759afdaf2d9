"""The conformance cases, one file a theme. Importing this registers them all in ``running.CASES``."""

import importlib
import pkgutil

for _folder in ("language", "library"):
    for _found in pkgutil.iter_modules([f"{__path__[0]}/{_folder}"]):
        importlib.import_module(f"{__name__}.{_folder}.{_found.name}")
