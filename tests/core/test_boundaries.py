import subprocess
import sys


def test_what_the_report_needs_never_imports_torch():
    modules = ["atomic", "csvio", "environment", "errors", "manifest", "notebook", "records", "statistics"]
    code = "import sys\n" + "".join(f"import circuitune.core.{name}\n" for name in modules)
    code += "environment = sys.modules['circuitune.core.environment'].describe()\n"
    code += "print([name for name in ('torch', 'transformers', 'peft') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
