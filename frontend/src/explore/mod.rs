//! `strata explore`: from one state many futures, which differ in what hardware leaves open, until something is found.
//!
//! A future is data: the inputs that the machine is given, each with its time, made from a seed and the future's number.
//! So what is found is a recording like any other. Futures run some at once, and are looked at in their order: what is
//! found does not depend on how many.
//!
//! Reading order: `words` (what can be asked), `condition` (what is looked for), `plan` (how futures differ), `corpus`
//! (where they begin), `run`, `shrink` (what of a future is needed).

mod condition;
mod corpus;
mod plan;
mod run;
mod shrink;
mod words;

use crate::input::{self, Event};
use crate::limits::Limits;
use crate::output;
use crate::session;
use crate::snapshot::{self, Chain};
use crate::status::{Failure, Status};
use crate::stop::Stop as Asked;
use crate::time_travel;
use corpus::{Corpus, News};
use plan::{Plan, Space};
use platform::machine::Branch;
use rayon::prelude::*;
use run::{Begin, Ended, Explorer};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
pub(crate) use words::Explore;

/// Futures that run before it is looked what has been found.
const BATCH: u64 = 64;
/// Bytes that a dictionary may have.
const DICTIONARY: u64 = 1 << 20;

/// `strata explore`.
pub(crate) fn run(mut asked: Explore, limits: &Limits) -> Result<Status, Failure> {
    let dictionary = asked.dictionary.as_deref().map(dictionary).transpose()?.unwrap_or_default();
    prepare(&asked.out)?;
    let begin = begin(&mut asked)?;
    let space = Space {
        seed: asked.seed,
        processors: begin.chain.last().saved().config().vcpus.into(),
        from: begin.now(),
        budget: asked.budget,
        dictionary,
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(asked.jobs.into()).build();
    let pool = pool.map_err(Failure::emulator)?;
    let stop = Asked::default();
    stop.on_signals()?;
    limits.limit_seconds.map_or(Ok(()), |seconds| stop.after(seconds))?;
    let search = Search { asked: &asked, begin: &begin, space: &space, stop: &stop };
    pool.install(|| search.run())
}

/// Sees to it that the directory for what is found is there and empty.
fn prepare(out: &Path) -> Result<(), Failure> {
    let wrong = |why: String| Failure::usage(format!("-o {}", out.display()), why);
    fs::create_dir_all(out).map_err(|e| wrong(e.to_string()))?;
    let mut files = fs::read_dir(out).map_err(|e| wrong(e.to_string()))?;
    match files.next() {
        None => Ok(()),
        Some(_) => {
            Err(wrong("it is not empty; accepted is an empty directory or a new one".into()))
        }
    }
}

/// The snapshot that was named, or that of the start of a run, which is written.
fn begin(asked: &mut Explore) -> Result<Begin, Failure> {
    let path = match asked.snapshot.take() {
        Some(path) => path,
        None => start(std::mem::take(&mut asked.words), &asked.out)?,
    };
    let chain = Chain::read(&path)?;
    chain.verify(&path)?;
    let conditions = std::mem::take(&mut asked.until);
    let conditions = if conditions.is_empty() { condition::USUAL.to_vec() } else { conditions };
    Ok(Begin { path, chain, budget: asked.budget, conditions })
}

fn start(words: Vec<std::ffi::OsString>, out: &Path) -> Result<PathBuf, Failure> {
    let (launch, _) = time_travel::launch_of(words, "explore")?;
    session::check_memory(&launch)?;
    let mut machine = session::boot(&launch, &Asked::default())?;
    let path = out.join("start.snapshot");
    snapshot::write(&mut machine, &path)?;
    Ok(path)
}

/// The texts of a dictionary.
fn dictionary(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let wrong = |why: String| Failure::usage(format!("--dictionary {}", path.display()), why);
    let meta = fs::metadata(path).map_err(|e| wrong(e.to_string()))?;
    if !meta.is_file() || meta.len() > DICTIONARY {
        return Err(wrong("accepted is a regular file of at most 1 MiB".into()));
    }
    let text = fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let texts = lines.map(|(n, line)| match input::quoted(line) {
        Ok((bytes, "")) if !bytes.is_empty() => Ok(bytes),
        _ => Err(wrong(format!("line {n}: accepted is a text in quotes, as --input has it"))),
    });
    texts.collect()
}

thread_local! {
    /// The machine of a thread.
    static EXPLORER: RefCell<Option<Explorer>> = const { RefCell::new(None) };
}

/// A search for futures in which something happens.
struct Search<'a> {
    asked: &'a Explore,
    begin: &'a Begin,
    space: &'a Space,
    stop: &'a Asked,
}

/// A future that has been run.
struct Done {
    from: Arc<Branch>,
    plan: Plan,
    ended: Ended,
    news: News,
}

impl Search<'_> {
    fn run(&self) -> Result<Status, Failure> {
        let (since, seeds) = (Instant::now(), self.asked.seeds);
        let mut corpus = Corpus::new(self.begin.branch()?);
        let (mut tried, mut found) = (0, 0);
        while tried < seeds && found < self.asked.findings {
            let numbers = tried..seeds.min(tried + BATCH);
            let futures = numbers.clone().into_par_iter().map(|n| self.future(&corpus, n));
            let futures: Vec<_> = futures.collect::<Result<_, _>>()?;
            if let Some(status) = self.stop.asked() {
                self.tell(tried, found, &corpus, since);
                let limit = status == Status::Limit;
                return Ok(if limit && found > 0 { Status::Found } else { status });
            }
            for (number, done) in numbers.zip(&futures) {
                tried = number + 1;
                if done.ended.met.is_some() && found < self.asked.findings {
                    found += 1;
                    self.found(number, done)?;
                }
            }
            if !self.asked.plain {
                self.learn(&mut corpus, &futures)?;
            }
        }
        self.tell(tried, found, &corpus, since);
        Ok(if found > 0 { Status::Found } else { Status::Success })
    }

    /// Keeps the states in which futures have come to something new.
    fn learn(&self, corpus: &mut Corpus, futures: &[Done]) -> Result<(), Failure> {
        let leave = corpus.learn(futures.iter().map(|done| &done.news));
        let state = |n: &usize| {
            let Done { from, plan, news, .. } = &futures[*n];
            self.with_explorer(|explorer| explorer.state(from, plan, news.at))
        };
        let states: Vec<_> = leave.par_iter().map(state).collect::<Result<_, _>>()?;
        states.into_iter().for_each(|state| corpus.add(state));
        Ok(())
    }

    /// Says how much was tried.
    fn tell(&self, tried: u64, found: u64, corpus: &Corpus, since: Instant) {
        let seconds = since.elapsed().as_secs_f64();
        let rate = tried as f64 / seconds.max(0.001);
        let (features, states) = corpus.size();
        output::say(&format!(
            "{tried} futures of at most {} instructions in {seconds:.1} s ({rate:.0} a second), {features} features, \
             {states} states; found in {found}\n",
            self.asked.budget
        ));
    }

    /// Does something by the machine of this thread.
    fn with_explorer<T>(&self, work: impl FnOnce(&mut Explorer) -> T) -> Result<T, Failure> {
        EXPLORER.with_borrow_mut(|explorer| {
            let explorer = match explorer {
                Some(explorer) => explorer,
                None => explorer.insert(Explorer::new(self.begin)?),
            };
            Ok(work(explorer))
        })
    }

    /// Runs future `number`.
    fn future(&self, corpus: &Corpus, number: u64) -> Result<Done, Failure> {
        let (state, plan) = corpus.future(self.space, number);
        let from = state.branch.clone();
        let end = from.now().plus(self.asked.budget);
        let told = (!self.asked.plain).then_some(corpus);
        let run = |explorer: &mut Explorer| explorer.run(self.begin, &from, &plan, end, told);
        let (ended, news) = self.with_explorer(run)?;
        Ok(Done { from, plan, ended, news })
    }

    /// Shrinks future `number`, in which something was found, records it and says so.
    fn found(&self, number: u64, done: &Done) -> Result<(), Failure> {
        let Done { plan: all, ended, .. } = done;
        let begin = Arc::new(self.begin.branch()?);
        let end = ended.at.plus(self.asked.budget);
        let run = |plan: &Plan| {
            self.with_explorer(|explorer| explorer.run(self.begin, &begin, plan, end, None).0)
        };
        let mut runs = 0;
        let plan = shrink::shrink(all.clone(), |plan| {
            runs += 1;
            Ok(run(plan)?.met == ended.met)
        })?;
        let ended = run(&plan)?;
        let to = self.asked.out.join(format!("future-{number}"));
        self.begin.record(&plan, &ended, &to)?;
        let condition = ended.met.and_then(|n| self.begin.conditions.get(n));
        let condition = condition.map(ToString::to_string).unwrap_or_default();
        let mut text = format!(
            "future {number}: {condition} at {}, by {} of {} perturbations ({runs} runs); {}\n",
            ended.at.0,
            plan.len(),
            all.len(),
            to.display()
        );
        for (at, input) in plan {
            _ = write!(text, "  {}", input::line(at.0, &Event::Input(input)));
        }
        time_travel::print(&text)
    }
}
