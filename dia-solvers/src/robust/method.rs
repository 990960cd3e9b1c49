//! How the steps of a fit are solved: what the preconditioner is made of, and which solver is around it.

use dia_core::{DesignMatrix, OperatorError};

use crate::linear::augmented::{PenaltyRows, WithRows};
use crate::linear::weighted::WeightedWorkspace;
use crate::{CgWorkspace, LsqrWorkspace, Solver};

/// What the preconditioner P is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Preconditioning {
    /// The normal matrix itself, of all rows.
    AllRows,
    /// Of sampled rows.
    SampledRows,
    /// Of sampled rows as if the kernel did not vary, and the polynomials of its variation: a Kronecker product.
    Kronecker,
}

impl Preconditioning {
    /// A short name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::AllRows => "all_rows",
            Self::SampledRows => "sampled_rows",
            Self::Kronecker => "kronecker",
        }
    }
}

/// How the steps of a problem are solved.
pub(crate) struct Method<A: DesignMatrix> {
    pub(crate) preconditioning: Preconditioning,
    pub(crate) can_fall_back: bool,
    pub(crate) inner: Inner<A>,
}

impl<A: DesignMatrix> Method<A> {
    /// That of a solver; weights that do not change are worth more accuracy.
    pub(crate) fn new(a: &A, solver: Solver, fixed_weights: bool) -> Result<Self, OperatorError> {
        let (n, varies) = (a.ncols(), a.design().variation().len() > 1);
        Ok(Self {
            preconditioning: match solver {
                Solver::Cholesky => Preconditioning::AllRows,
                _ if varies => Preconditioning::Kronecker,
                _ => Preconditioning::SampledRows,
            },
            can_fall_back: varies && solver != Solver::Cholesky && n <= LARGEST_DENSE,
            inner: match solver {
                Solver::Pcg if fixed_weights || varies => Inner::Cg(Box::new(CgWorkspace::new(n))),
                Solver::Lsqr => Inner::Lsqr(Box::new(LsqrMemory::new(a)?)),
                Solver::Pcg | Solver::Cholesky => Inner::None,
            },
        })
    }
}

/// What solves for a step, where that is not the preconditioner alone.
pub(crate) enum Inner<A: DesignMatrix> {
    None,
    Cg(Box<CgWorkspace>),
    Lsqr(Box<LsqrMemory<A>>),
}

/// √w; the residual I − M, and from it √w (I − M); and the workspace.
pub(crate) struct LsqrMemory<A: DesignMatrix> {
    pub(crate) sqrt_weights: A::Data,
    pub(crate) whitened: WithRows<A::Data>,
    pub(crate) rows: Option<PenaltyRows>,
    pub(crate) workspace: Option<LsqrWorkspace<WithRows<A::Data>, WeightedWorkspace<A>>>,
}

impl<A: DesignMatrix> LsqrMemory<A> {
    pub(crate) fn new(a: &A) -> Result<Self, OperatorError> {
        let whitened = WithRows { data: a.zeros()?, rows: Vec::new() };
        Ok(Self { sqrt_weights: a.zeros()?, whitened, rows: None, workspace: None })
    }
}

/// Most columns for which sampled rows of a kernel that varies are factored: the cube of that is the cost, in flop.
const LARGEST_DENSE: usize = 4000;
