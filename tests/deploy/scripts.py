"""The Python scripts of `deploy/image` as modules: they belong to no package."""

import importlib.util
import sys
from types import ModuleType

from tests.deploy.manifests import DEPLOY

IMAGE = DEPLOY / "image"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"deploy_image_{name}", IMAGE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for their module
    spec.loader.exec_module(module)
    return module
