//! Finding or building helm, and running it.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Built where no helm is installed. Any 3.x renders the same.
const VERSION: &str = "v3.17.4";

/// A helm that works.
pub struct Helm {
    program: String,
    chart: String,
}

/// What a run said.
pub struct Said {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

impl Helm {
    /// The one that is installed, the one that was built before, or one that Go builds now; else what is missing.
    pub fn find() -> Result<Helm, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = root.join("target/tools");
        let built = folder.join("helm").to_string_lossy().into_owned();
        let works = |program: &str| {
            Command::new(program)
                .arg("version")
                .output()
                .is_ok_and(|output| output.stdout.starts_with(b"version.BuildInfo{Version:\"v3."))
        };
        let found = ["helm", &built].into_iter().find(|program| works(program)).map(str::to_owned);
        let chart = root.join("chart").to_string_lossy().into_owned();
        if let Some(program) = found {
            return Ok(Helm { program, chart });
        }
        let module = format!("helm.sh/helm/v3/cmd/helm@{VERSION}");
        let go = Command::new("go").args(["install", &module]).env("GOBIN", &folder).output();
        match go {
            Err(_) => Err("needs helm, or Go to build it".to_owned()),
            Ok(output) if !output.status.success() => {
                let why = String::from_utf8_lossy(&output.stderr);
                Err(format!("needs helm, which Go cannot build: {}", why.lines().last().unwrap_or_default()))
            }
            Ok(_) => Ok(Helm { program: built, chart }),
        }
    }

    /// The chart's folder.
    pub fn chart(&self) -> &str {
        &self.chart
    }

    /// Runs it, without a cluster and without the user's own settings.
    pub fn run(&self, arguments: &[&str]) -> Said {
        let output = Command::new(&self.program)
            .args(arguments)
            .env("KUBECONFIG", "/dev/null")
            .env("HELM_CONFIG_HOME", "/nonexistent")
            .output()
            .expect("helm starts");
        Said {
            ok: output.status.success(),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// The manifests; a warning is a failure.
    pub fn template(&self, arguments: &[&str]) -> String {
        let said = self.render(self.chart(), arguments);
        assert!(said.ok && said.err.is_empty(), "{arguments:?}: {}", said.err);
        said.out
    }

    /// Renders the chart in a folder.
    pub fn render(&self, chart: &str, arguments: &[&str]) -> Said {
        // A helm that `go install` built takes itself for one of a very old Kubernetes.
        let fixed = ["template", "netmon", chart, "--namespace", "devzero-system", "--kube-version", "1.33.0"];
        self.run(&[&fixed, arguments].concat())
    }

    /// What NOTES.txt says. Only an installation shows it, which needs a cluster; so it is rendered as the text of a
    /// ConfigMap.
    pub fn notes(&self, arguments: &[&str]) -> String {
        let notes = fs::read_to_string(Path::new(self.chart()).join("templates/NOTES.txt")).expect("NOTES.txt");
        let head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\ndata:\n  text: |\n";
        let body: String = notes.lines().map(|line| format!("    {line}\n")).collect();
        self.with_template(&format!("{head}{body}"), arguments)
    }

    /// Renders this text as the only template of a copy of the chart.
    pub fn with_template(&self, text: &str, arguments: &[&str]) -> String {
        let copy = std::env::temp_dir().join(format!("netmon-chart-{}", std::process::id()));
        let templates = copy.join("templates");
        fs::create_dir_all(&templates).expect("a folder");
        let helpers = ["templates/_helpers.tpl", "templates/_elsewhere.tpl"];
        for file in ["Chart.yaml", "values.yaml", "values.schema.json"].into_iter().chain(helpers) {
            fs::copy(Path::new(self.chart()).join(file), copy.join(file)).expect("a copy");
        }
        fs::write(templates.join("text.yaml"), text).expect("written");
        let said = self.render(copy.to_str().expect("UTF-8"), arguments);
        fs::remove_dir_all(&copy).expect("ours");
        assert!(said.ok, "{}", said.err);
        said.out
    }
}
